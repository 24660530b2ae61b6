// Kernels by name, and running them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel/vector_types.h"
#include "report.h"
#include "tensor_map.h"

namespace simt {

class DeviceMemory;

struct Parameter {
    size_t bytes;
    size_t alignment;

    bool is_tensor_map() const { return bytes == sizeof(TensorMap) && alignment == TensorMap::ALIGNMENT; }
};

struct Kernel {
    const char* name;
    unsigned max_threads;
    // Calls the function for one thread; each argument by its address, as cuLaunchKernel has them.
    void (*call)(void** arguments);
    const Parameter* parameters;
    size_t parameter_count;
};

// nullptr if there is none.
const Kernel* find_kernel(const char* name);
void register_kernel(const Kernel& kernel);

struct Launch {
    const Kernel* kernel;
    void** arguments;
    dim3 grid;
    dim3 block;
    size_t shared_bytes;
};

// Runs a launch to its end, or to a fault that it cannot go on from; false if there was a finding.
bool run(const Launch& launch, DeviceMemory& memory);

}  // namespace simt
