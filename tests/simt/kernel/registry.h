// Registers kernels by name: the build script appends SIMT_KERNEL lines to each source.
#pragma once

#include <cstring>
#include <tuple>
#include <utility>

#include "../executor/launch.h"
#include "simt.h"

namespace simt {

// Calls a kernel with arguments of its parameters' types.
template <auto kernel>
struct Call;

template <typename... Parameters, void (*kernel)(Parameters...)>
struct Call<kernel> {
    // Each thread has parameters of its own: copies on its stack, which the sanitizers pass over.
    __attribute__((no_sanitize("thread"))) static void run(void** arguments) {
        run_with(arguments, std::index_sequence_for<Parameters...>());
    }

    static constexpr Parameter PARAMETERS[sizeof...(Parameters) + 1] = {{sizeof(Parameters), alignof(Parameters)}...,
                                                                        {}};
    static constexpr size_t COUNT = sizeof...(Parameters);

private:
    template <size_t... I>
    __attribute__((no_sanitize("thread"))) static void run_with(void** arguments, std::index_sequence<I...>) {
        std::tuple<Parameters...> values;
        (memcpy(&std::get<I>(values), arguments[I], sizeof(Parameters)), ...);
        kernel(std::get<I>(values)...);
    }
};

struct Registration {
    explicit Registration(const Kernel& kernel) { register_kernel(kernel); }
};

}  // namespace simt

#define SIMT_KERNEL(name, max_threads)                                                                 \
    const simt::Kernel simt_kernel_##name = {#name, max_threads, simt::Call<&name>::run,               \
                                             simt::Call<&name>::PARAMETERS, simt::Call<&name>::COUNT}; \
    const simt::Registration simt_registration_##name(simt_kernel_##name);
