// Initialisation, devices and contexts.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../executor/limits.h"
#include "state.h"

namespace driver {
namespace {

std::mutex mutex;
bool initialised;

// The contexts of a thread, the current one last; nullptr stands for none.
thread_local std::vector<Context*> contexts;

long long setting(const char* name, long long otherwise) {
    const char* value = getenv(name);
    return value == nullptr || *value == 0 ? otherwise : atoll(value);
}

int attribute(int which) {
    const Model& card = model();
    switch (which) {
        case 1: return simt::MAX_THREADS;                // MAX_THREADS_PER_BLOCK
        case 2: return 1024;                             // MAX_BLOCK_DIM_X
        case 3: return 1024;                             // MAX_BLOCK_DIM_Y
        case 4: return 64;                               // MAX_BLOCK_DIM_Z
        case 5: return 0x7fffffff;                       // MAX_GRID_DIM_X
        case 6: return 65535;                            // MAX_GRID_DIM_Y
        case 7: return 65535;                            // MAX_GRID_DIM_Z
        case 8: return simt::SHARED_BYTES;               // MAX_SHARED_MEMORY_PER_BLOCK
        case 9: return 64 * 1024;                        // TOTAL_CONSTANT_MEMORY
        case 10: return simt::WARP_SIZE;                 // WARP_SIZE
        case 11: return 0x7fffffff;                      // MAX_PITCH
        case 12: return simt::REGISTERS;                 // MAX_REGISTERS_PER_BLOCK
        case 13: return card.clock;                      // CLOCK_RATE, kHz
        case 15: return 1;                               // GPU_OVERLAP
        case 16: return setting("SIMT_MULTIPROCESSORS", card.multiprocessors);  // MULTIPROCESSOR_COUNT
        case 19: return 1;                               // CAN_MAP_HOST_MEMORY
        case 31: return 1;                               // CONCURRENT_KERNELS
        case 32: return 1;                               // ECC_ENABLED
        case 36: return card.memory_clock;               // MEMORY_CLOCK_RATE, kHz
        case 37: return 5120;                            // GLOBAL_MEMORY_BUS_WIDTH
        case 38: return card.l2_cache;                   // L2_CACHE_SIZE
        case 39: return 2048;                            // MAX_THREADS_PER_MULTIPROCESSOR
        case 40: return 3;                               // ASYNC_ENGINE_COUNT
        case 41: return 1;                               // UNIFIED_ADDRESSING
        case 75: return capability() / 10;               // COMPUTE_CAPABILITY_MAJOR
        case 76: return capability() % 10;               // COMPUTE_CAPABILITY_MINOR
        case 78: return 1;                               // STREAM_PRIORITIES_SUPPORTED
        case 81: return card.shared_of_multiprocessor;   // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        case 82: return simt::REGISTERS;                 // MAX_REGISTERS_PER_MULTIPROCESSOR
        case 83: return 1;                               // MANAGED_MEMORY
        case 97: return card.most_shared;                // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        case 106: return 32;                             // MAX_BLOCKS_PER_MULTIPROCESSOR
        case 111: return Model::RESERVED_SHARED;         // RESERVED_SHARED_MEMORY_PER_BLOCK
        case 115: return 1;                              // MEMORY_POOLS_SUPPORTED
        case 127: return capability() >= 90;             // TENSOR_MAP_ACCESS_SUPPORTED
        default: return 0;
    }
}

Context* new_context(Device& device) {
    auto* context = new Context();
    context->device = &device;
    context->default_stream.context = context;
    context->default_stream.is_default = true;
    return give_out(context);
}

CUresult need_device(CUdevice ordinal) {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    return find_device(ordinal) == nullptr ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}

constexpr Model A100 = {108, 1410000, 1215000, 40 << 20, 164 * 1024, 163 * 1024};
constexpr Model H100 = {132, 1980000, 2619000, 50 << 20, 228 * 1024, 227 * 1024};
static_assert(H100.most_shared == simt::MOST_SHARED_BYTES);

}  // namespace

int capability() { return setting("SIMT_CAPABILITY", 80); }

const Model& model() { return capability() == 90 ? H100 : A100; }

Lock::Lock() : guard_(mutex) {}

std::vector<std::unique_ptr<Device>>& devices() {
    static auto& all = *new std::vector<std::unique_ptr<Device>>;
    return all;
}

Device* find_device(CUdevice ordinal) {
    return ordinal < 0 || size_t(ordinal) >= devices().size() ? nullptr : devices()[ordinal].get();
}

Device* device_of(CUdeviceptr address) {
    for (const auto& device : devices()) {
        if (device->memory.contains(address)) return device.get();
    }
    return nullptr;
}

Context* current_context() { return contexts.empty() ? nullptr : contexts.back(); }

CUresult need_context() {
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    return is_live(current_context()) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

}  // namespace driver

using namespace driver;

CUDA_API CUresult cuInit(unsigned flags) {
    const Lock lock;
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    if (const long long error = setting("SIMT_INIT", 0)) return CUresult(error);
    // Of CUDA_VISIBLE_DEVICES only the empty value counts, which hides all.
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    const long long count = visible == nullptr || *visible != 0 ? setting("SIMT_DEVICES", 1) : 0;
    if (count <= 0) return CUDA_ERROR_NO_DEVICE;
    if (initialised) return CUDA_SUCCESS;
    initialised = true;
    for (int i = 0; i < count; i++) {
        devices().push_back(std::make_unique<Device>(i, setting("SIMT_MEMORY", 1 << 30)));
    }
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDriverGetVersion(int* version) {
    *version = setting("SIMT_DRIVER_VERSION", 12080);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetCount(int* count) {
    const Lock lock;
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    *count = devices().size();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGet(CUdevice* device, int ordinal) {
    const Lock lock;
    if (const CUresult error = need_device(ordinal)) return error;
    *device = ordinal;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetName(char* name, int bytes, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    snprintf(name, bytes, "SIMT executor");
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetPCIBusId(char* address, int bytes, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    snprintf(address, bytes, "0000:%02x:00.0", device + 1);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    *uuid = {};
    snprintf(uuid->bytes, sizeof uuid->bytes, "SIMT %d", device);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) { return cuDeviceGetUuid(uuid, device); }

CUDA_API CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    *bytes = find_device(device)->memory.total();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDeviceGetAttribute(int* value, int which, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    if (which < 1) return CUDA_ERROR_INVALID_VALUE;
    *value = attribute(which);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
    const Lock lock;
    if (const CUresult error = need_device(ordinal)) return error;
    Device& device = *find_device(ordinal);
    if (device.primary_uses++ == 0) {
        device.primary = new_context(device);
        device.primary->primary = true;
    }
    *context = device.primary;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
    const Lock lock;
    if (const CUresult error = need_device(ordinal)) return error;
    Device& device = *find_device(ordinal);
    if (device.primary_uses == 0) return CUDA_ERROR_INVALID_CONTEXT;
    if (--device.primary_uses == 0) destroy(device.primary);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxCreate_v2(CUcontext* context, unsigned, CUdevice device) {
    const Lock lock;
    if (const CUresult error = need_device(device)) return error;
    *context = new_context(*find_device(device));
    contexts.push_back(*context);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxCreate_v3(CUcontext* context, void*, int, unsigned flags, CUdevice device) {
    return cuCtxCreate_v2(context, flags, device);
}

CUDA_API CUresult cuCtxDestroy_v2(CUcontext context) {
    const Lock lock;
    if (!is_live(context) || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
    if (current_context() == context) contexts.pop_back();
    destroy(context);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxGetCurrent(CUcontext* context) {
    const Lock lock;
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    *context = current_context();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxSetCurrent(CUcontext context) {
    const Lock lock;
    if (!initialised) return CUDA_ERROR_NOT_INITIALIZED;
    if (context != nullptr && !is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    if (!contexts.empty()) contexts.pop_back();
    if (context != nullptr) contexts.push_back(context);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxPushCurrent_v2(CUcontext context) {
    const Lock lock;
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    contexts.push_back(context);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    const Lock lock;
    if (contexts.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context != nullptr) *context = contexts.back();
    contexts.pop_back();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxGetDevice(CUdevice* device) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    *device = current_context()->device->ordinal;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxSetFlags(unsigned) {
    const Lock lock;
    return need_context();
}

CUDA_API CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxGetLimit(size_t* value, int) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    *value = 1024;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxSetLimit(int, size_t) {
    const Lock lock;
    return need_context();
}

CUDA_API CUresult cuCtxGetCacheConfig(int* configuration) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    *configuration = 0;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuCtxSetCacheConfig(int) {
    const Lock lock;
    return need_context();
}

CUDA_API CUresult cuProfilerStart() {
    const Lock lock;
    return need_context();
}

CUDA_API CUresult cuProfilerStop() {
    const Lock lock;
    return need_context();
}
