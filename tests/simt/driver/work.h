// Work of a stream as a value, to run at once or to record.
#pragma once

#include <variant>
#include <vector>

#include "../executor/launch.h"
#include "cuda.h"

namespace driver {

struct Device;

struct KernelWork {
    Device* device;
    const simt::Kernel* kernel;
    dim3 grid;
    dim3 block;
    size_t shared_bytes;
    // Copies of the arguments, and where each begins.
    std::vector<unsigned char> arguments;
    std::vector<size_t> offsets;
};

// Memory of the device is checked to be allocated when the work is done; the host's is not.
struct CopyWork {
    CUdeviceptr to;
    CUdeviceptr from;
    size_t bytes;
    bool to_device;
    bool from_device;
};

// `count` elements of 1, 2 or 4 bytes.
struct FillWork {
    CUdeviceptr to;
    unsigned value;
    unsigned element_bytes;
    size_t count;
};

struct HostWork {
    CUhostFn function;
    void* data;
};

using Work = std::variant<KernelWork, CopyWork, FillWork, HostWork>;

// Runs work of a stream, or of the host itself with nullptr.
CUresult perform(Stream* stream, const Work& work);

}  // namespace driver
