// Memory: the device's, the host's pinned memory, copies and fills.
#include <cstdlib>
#include <cstring>

#include "calls.h"
#include "state.h"

namespace driver {
namespace {

CUresult allocate(Device& device, CUdeviceptr* address, size_t bytes) {
    *address = device.memory.allocate(bytes);
    return *address == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult release(CUdeviceptr address) {
    if (address == 0) return CUDA_SUCCESS;
    Device* device = device_of(address);
    forget_uses(address);
    return device != nullptr && device->memory.free(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult stream_work(CUstream handle, Work work) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    return submit(*stream, std::move(work));
}

// A synchronous copy or fill is not work of a stream, and must not happen while one is captured.
CUresult host_work(const Work& work) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    return perform(nullptr, work);
}

CopyWork to_device(CUdeviceptr to, const void* from, size_t bytes) {
    return {to, CUdeviceptr(from), bytes, true, false};
}

CopyWork to_host(void* to, CUdeviceptr from, size_t bytes) { return {CUdeviceptr(to), from, bytes, false, true}; }

CopyWork on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return {to, from, bytes, true, true}; }

// The direction follows from the addresses.
CopyWork anywhere(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    const Lock lock;
    return {to, from, bytes, device_of(to) != nullptr, device_of(from) != nullptr};
}

}  // namespace
}  // namespace driver

using namespace driver;

CUDA_API CUresult cuMemGetInfo_v2(size_t* left, size_t* total) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    const simt::DeviceMemory& memory = current_context()->device->memory;
    *left = memory.left();
    *total = memory.total();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    return allocate(*current_context()->device, address, bytes);
}

CUDA_API CUresult cuMemAllocManaged(CUdeviceptr* address, size_t bytes, unsigned) {
    return cuMemAlloc_v2(address, bytes);
}

CUDA_API CUresult cuMemFree_v2(CUdeviceptr address) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    return release(address);
}

// Allocations by a captured stream would belong to the graph, which the stand-in does not support.
CUDA_API CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream handle) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
    *address = 0;
    if (bytes == 0) return CUDA_SUCCESS;
    if (const CUresult error = allocate(*stream->context->device, address, bytes)) return error;
    begin_work(*stream);
    return use(*stream, *address, Use::WRITE);
}

static CUresult free_behind(CUdeviceptr address, CUstream handle) {
    if (const CUresult error = need_context()) return error;
    Stream* stream = find_stream(handle);
    if (stream == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) return CUDA_ERROR_NOT_SUPPORTED;
    begin_work(*stream);
    if (const CUresult error = use(*stream, address, Use::WRITE)) return error;
    return release(address);
}

CUDA_API CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    const Lock lock;
    const CUresult error = free_behind(address, handle);
    if (error) calls.refused_frees++;
    return error;
}

CUDA_API CUresult cuMemGetAddressRange_v2(CUdeviceptr* begin, size_t* bytes, CUdeviceptr address) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    const Device* device = device_of(address);
    uintptr_t found;
    size_t size;
    if (device == nullptr || !device->memory.find(address, &found, &size)) return CUDA_ERROR_NOT_FOUND;
    if (address - found >= size) return CUDA_ERROR_NOT_FOUND;
    if (begin != nullptr) *begin = found;
    if (bytes != nullptr) *bytes = size;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    constexpr size_t PAGE = 4096;
    *memory = aligned_alloc(PAGE, (bytes + PAGE) / PAGE * PAGE);
    if (*memory == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(*memory, 0xff, bytes);
    pin(*memory, bytes);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemAllocHost_v2(void** memory, size_t bytes) { return cuMemHostAlloc(memory, bytes, 0); }

CUDA_API CUresult cuMemFreeHost(void* memory) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    CUresult result;
    if (!unpin(memory, &result)) return CUDA_ERROR_INVALID_VALUE;
    free(memory);
    return result;
}

CUDA_API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    return host_work(to_device(to, from, bytes));
}

CUDA_API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    return stream_work(stream, to_device(to, from, bytes));
}

CUDA_API CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    return host_work(to_host(to, from, bytes));
}

CUDA_API CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return stream_work(stream, to_host(to, from, bytes));
}

CUDA_API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return host_work(on_device(to, from, bytes));
}

CUDA_API CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return stream_work(stream, on_device(to, from, bytes));
}

CUDA_API CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, size_t bytes,
                                    CUstream stream) {
    return stream_work(stream, on_device(to, from, bytes));
}

CUDA_API CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return host_work(anywhere(to, from, bytes));
}

CUDA_API CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return stream_work(stream, anywhere(to, from, bytes));
}

CUDA_API CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
    return host_work(FillWork{to, value, 1, count});
}

CUDA_API CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
    return stream_work(stream, FillWork{to, value, 1, count});
}

CUDA_API CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
    return host_work(FillWork{to, value, 2, count});
}

CUDA_API CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    return stream_work(stream, FillWork{to, value, 2, count});
}

CUDA_API CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
    return host_work(FillWork{to, value, 4, count});
}

CUDA_API CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
    return stream_work(stream, FillWork{to, value, 4, count});
}
