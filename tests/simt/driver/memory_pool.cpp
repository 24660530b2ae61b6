// Memory pools: all of a device draw from the same memory; their attributes are only kept.
#include "state.h"

namespace driver {
namespace {

bool is_pool(const MemoryPool* pool) {
    for (const auto& device : devices()) {
        if (pool == &device->default_pool) return true;
    }
    return is_live(const_cast<MemoryPool*>(pool));
}

// CUmemPoolProps begins with the allocation type, the handle types and the location's type and device.
struct Properties {
    int allocation_type;
    int handle_types;
    int location_type;
    int location;
};

// The first three attributes are int, the others 64 bits.
bool is_wide(int attribute) { return attribute > 3; }

}  // namespace
}  // namespace driver

using namespace driver;

CUDA_API CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice device) {
    const Lock lock;
    if (find_device(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *pool = &find_device(device)->default_pool;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice device) {
    const Lock lock;
    if (find_device(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *pool = find_device(device)->pool;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool) {
    const Lock lock;
    if (find_device(device) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    if (!is_pool(pool)) return CUDA_ERROR_INVALID_VALUE;
    find_device(device)->pool = pool;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemPoolCreate(CUmemoryPool* pool, const Properties* properties) {
    const Lock lock;
    if (find_device(properties->location) == nullptr) return CUDA_ERROR_INVALID_DEVICE;
    *pool = give_out(new MemoryPool{properties->location, {}});
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemPoolDestroy(CUmemoryPool pool) {
    const Lock lock;
    for (const auto& device : devices()) {
        if (device->pool == pool) device->pool = &device->default_pool;
    }
    return destroy(pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_API CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t) {
    const Lock lock;
    return is_pool(pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_API CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void* value) {
    const Lock lock;
    if (!is_pool(pool)) return CUDA_ERROR_INVALID_VALUE;
    const uint64_t kept = pool->attributes[attribute];
    if (is_wide(attribute)) {
        *static_cast<uint64_t*>(value) = kept;
    } else {
        *static_cast<int*>(value) = kept;
    }
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void* value) {
    const Lock lock;
    if (!is_pool(pool)) return CUDA_ERROR_INVALID_VALUE;
    pool->attributes[attribute] = is_wide(attribute) ? *static_cast<uint64_t*>(value) : *static_cast<int*>(value);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream stream);

CUDA_API CUresult cuMemAllocFromPoolAsync(CUdeviceptr* address, size_t bytes, CUmemoryPool, CUstream stream) {
    return cuMemAllocAsync(address, bytes, stream);
}
