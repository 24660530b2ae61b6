#include "work.h"

#include <cstdlib>
#include <cstring>

#include "../executor/tensor_map.h"
#include "state.h"

namespace driver {
namespace {

// Whether a launch is left out: SIMT_LAUNCHES is how many run.
bool is_left_out() {
    static const char* most = getenv("SIMT_LAUNCHES");
    static long long run;
    return most != nullptr && run++ >= atoll(most);
}

// The memory that an argument gives to a kernel: a pointer, or a tensor map; 0 if it is neither.
CUdeviceptr address_of(const simt::Parameter& parameter, const void* argument) {
    CUdeviceptr address = 0;
    if (parameter.bytes == sizeof address) memcpy(&address, argument, sizeof address);
    if (parameter.is_tensor_map()) {
        simt::TensorMap map;
        memcpy(&map, argument, sizeof map);
        if (map.mark == simt::TensorMap::MARK) address = map.address;
    }
    return address;
}

CUresult do_work(Stream* stream, const KernelWork& work) {
    std::vector<void*> arguments;
    for (const size_t offset : work.offsets)
        arguments.push_back(const_cast<unsigned char*>(work.arguments.data()) + offset);
    for (size_t i = 0; i < work.offsets.size(); i++) {
        const CUdeviceptr address = address_of(work.kernel->parameters[i], arguments[i]);
        if (const CUresult error = use(*stream, address, Use::LAUNCH)) return error;
    }
    if (is_left_out()) return CUDA_SUCCESS;
    const Hidden hidden(*stream, *work.device);
    const simt::Launch launch = {work.kernel, arguments.data(), work.grid, work.block, work.shared_bytes};
    return simt::run(launch, work.device->memory) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

bool is_allocated(CUdeviceptr address, size_t bytes) {
    const Device* device = device_of(address);
    return device != nullptr && device->memory.is_allocated(address, bytes);
}

CUresult do_work(Stream* stream, const CopyWork& work) {
    calls.uploads += !work.from_device;
    calls.downloads += !work.to_device;
    if (work.bytes == 0) return CUDA_SUCCESS;
    if (work.to_device && !is_allocated(work.to, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (work.from_device && !is_allocated(work.from, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (stream != nullptr) {
        if (const CUresult error = work.to_device ? use(*stream, work.to, Use::WRITE) : CUDA_SUCCESS) return error;
        if (const CUresult error = work.from_device ? use(*stream, work.from, Use::READ) : CUDA_SUCCESS) return error;
        if (is_pinned(work.from)) return upload_from_pinned(*stream, work.to, work.from, work.bytes);
        if (is_pinned(work.to)) return download_to_pinned(*stream, work.to, work.from, work.bytes);
    }
    memmove(reinterpret_cast<void*>(work.to), reinterpret_cast<const void*>(work.from), work.bytes);
    if (work.to_device && work.from_device) return CUDA_SUCCESS;
    calls.waits++;
    return stream == nullptr || work.to_device ? CUDA_SUCCESS : host_waits(stream->passed);
}

CUresult do_work(Stream* stream, const FillWork& work) {
    if (work.count == 0) return CUDA_SUCCESS;
    if (work.to % work.element_bytes != 0) return CUDA_ERROR_INVALID_VALUE;
    if (!is_allocated(work.to, work.count * work.element_bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (stream != nullptr) {
        if (const CUresult error = use(*stream, work.to, Use::WRITE)) return error;
    }
    auto* to = reinterpret_cast<unsigned char*>(work.to);
    if (work.element_bytes == 1) {
        memset(to, work.value, work.count);
    } else {
        for (size_t i = 0; i < work.count; i++) memcpy(to + i * work.element_bytes, &work.value, work.element_bytes);
    }
    return CUDA_SUCCESS;
}

CUresult do_work(Stream*, const HostWork& work) {
    work.function(work.data);
    return CUDA_SUCCESS;
}

}  // namespace

SimtCalls calls;

CUresult perform(Stream* stream, const Work& work) {
    if (stream != nullptr) begin_work(*stream);
    return std::visit([&](const auto& which) { return do_work(stream, which); }, work);
}

}  // namespace driver

CUDA_API const SimtCalls* simt_calls() { return &driver::calls; }
