#include "work.h"

#include <cstring>

#include "state.h"

namespace driver {
namespace {

CUresult do_work(const KernelWork& work) {
    std::vector<void*> arguments;
    for (const size_t offset : work.offsets)
        arguments.push_back(const_cast<unsigned char*>(work.arguments.data()) + offset);
    const simt::Launch launch = {work.kernel, arguments.data(), work.grid, work.block, work.shared_bytes};
    return simt::run(launch, work.device->memory) ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED;
}

bool is_allocated(CUdeviceptr address, size_t bytes) {
    const Device* device = device_of(address);
    return device != nullptr && device->memory.is_allocated(address, bytes);
}

CUresult do_work(const CopyWork& work) {
    if (work.bytes == 0) return CUDA_SUCCESS;
    if (work.to_device && !is_allocated(work.to, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
    if (work.from_device && !is_allocated(work.from, work.bytes)) return CUDA_ERROR_INVALID_VALUE;
    memmove(reinterpret_cast<void*>(work.to), reinterpret_cast<const void*>(work.from), work.bytes);
    return CUDA_SUCCESS;
}

CUresult do_work(const FillWork& work) {
    if (work.count == 0) return CUDA_SUCCESS;
    if (work.to % work.element_bytes != 0) return CUDA_ERROR_INVALID_VALUE;
    if (!is_allocated(work.to, work.count * work.element_bytes)) return CUDA_ERROR_INVALID_VALUE;
    auto* to = reinterpret_cast<unsigned char*>(work.to);
    if (work.element_bytes == 1) {
        memset(to, work.value, work.count);
    } else {
        for (size_t i = 0; i < work.count; i++) memcpy(to + i * work.element_bytes, &work.value, work.element_bytes);
    }
    return CUDA_SUCCESS;
}

CUresult do_work(const HostWork& work) {
    work.function(work.data);
    return CUDA_SUCCESS;
}

}  // namespace

CUresult perform(const Work& work) {
    return std::visit([](const auto& which) { return do_work(which); }, work);
}

}  // namespace driver
