// The library under test, through its C interface, and what both test programs share.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "driver/calls.h"
#include "driver/cuda.h"
#include "executor/report.h"

namespace test {

inline int failures = 0;

__attribute__((format(printf, 2, 3))) inline void expect(bool holds, const char* format, ...) {
    if (holds) return;
    failures++;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "FAILED: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
}

inline void* library;

// Calls a function of the library. Argument types are those of the call: cast where they differ from the function's.
template <typename... Arguments>
CUresult call(const char* name, Arguments... arguments) {
    auto function = reinterpret_cast<CUresult (*)(Arguments...)>(dlsym(library, name));
    if (function == nullptr) {
        fprintf(stderr, "no function %s\n", name);
        exit(1);
    }
    return function(arguments...);
}

// As call(), which must succeed.
template <typename... Arguments>
void must(const char* name, Arguments... arguments) {
    const CUresult error = call(name, arguments...);
    expect(error == CUDA_SUCCESS, "%s: %d", name, error);
}

inline void open(const char* path) {
    library = dlopen(path, RTLD_NOW);
    if (library == nullptr) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
}

inline const SimtReport& report() {
    return *reinterpret_cast<const SimtReport* (*)()>(dlsym(library, "simt_report"))();
}

constexpr const char* PTX = ".version 8.0\n.target sm_80\n.address_size 64\n";

// Memory of the device, with elements of the host's.
template <typename T>
class Buffer {
public:
    explicit Buffer(size_t count) : count_(count) { must("cuMemAlloc_v2", &address_, count * sizeof(T)); }
    explicit Buffer(const std::vector<T>& values) : Buffer(values.size()) { upload(values); }
    Buffer(const Buffer&) = delete;
    ~Buffer() { release(); }

    void release() {
        if (address_ != 0) must("cuMemFree_v2", address_);
        address_ = 0;
    }

    void upload(const std::vector<T>& values) {
        must("cuMemcpyHtoD_v2", address_, static_cast<const void*>(values.data()), values.size() * sizeof(T));
    }

    std::vector<T> download() const {
        std::vector<T> values(count_);
        must("cuMemcpyDtoH_v2", static_cast<void*>(values.data()), address_, count_ * sizeof(T));
        return values;
    }

    CUdeviceptr address() const { return address_; }

private:
    CUdeviceptr address_ = 0;
    size_t count_;
};

// Small multiples of 1/32, whose products and sums are exact.
inline float wave(size_t i, int step, int period) { return float(int(i * step % period) - period / 2) / 32; }

// The bits of a number that f16 represents, if not as a subnormal; and back.
inline uint16_t half_of(float x) {
    if (x == 0) return 0;
    int exponent;
    const int digits = int(std::ldexp(std::frexp(std::abs(x), &exponent), 11));
    return (x < 0) << 15 | (exponent + 14) << 10 | (digits & 1023);
}
inline float float_of(uint16_t half) {
    if ((half & 0x7fff) >= 0x7c00) return NAN;
    const float digits = (half & 0x7c00) == 0 ? half & 1023 : 1024 + (half & 1023);
    return std::ldexp(half >> 15 ? -digits : digits, std::max(half >> 10 & 31, 1) - 25);
}

constexpr const char* ORDERS[] = {"forward", "reverse", "random"};

inline uint64_t all_findings() {
    uint64_t sum = 0;
    for (const uint64_t count : report().findings) sum += count;
    return sum;
}

struct Dim3 {
    unsigned x, y, z;
    Dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

inline CUfunction function(CUmodule module, const char* name) {
    CUfunction found = nullptr;
    must("cuModuleGetFunction", &found, module, name);
    return found;
}

template <typename... Arguments>
CUresult launch(CUfunction kernel, Dim3 grid, Dim3 block, unsigned shared, CUstream stream, Arguments... arguments) {
    void* pointers[] = {&arguments..., nullptr};
    return call("cuLaunchKernel", kernel, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, stream, pointers,
                static_cast<void**>(nullptr));
}

}  // namespace test
