// Modules, functions and launches. An image is looked at, but what runs is the kernel of that name in this library.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "../executor/block.h"
#include "../executor/limits.h"
#include "state.h"

namespace driver {
namespace {

// The newest PTX that a driver takes, both as 10 · major + minor; CUDA's release notes have the table.
int newest_ptx(int driver_version) {
    static constexpr int TABLE[][2] = {{13000, 90}, {12090, 88}, {12080, 87}, {12070, 86}, {12050, 85}, {12040, 84},
                                       {12030, 83}, {12020, 82}, {12010, 81}, {12000, 80}, {11080, 78}};
    for (const auto& [driver, ptx] : TABLE) {
        if (driver_version >= driver) return ptx;
    }
    return 70;
}

// Whether the device runs PTX of a target, "80" or "90a": one with a letter is for exactly this capability.
bool suits(const char* target) {
    char* end;
    const int of_target = strtol(target, &end, 10);
    return *end == 'a' ? capability() == of_target : capability() >= of_target;
}

bool is_cubin(const char* image) {
    constexpr unsigned short EM_CUDA = 190;
    unsigned short machine;
    if (memcmp(image, "\177ELF", 4) != 0) return false;
    memcpy(&machine, image + 18, sizeof machine);
    return machine == EM_CUDA;
}

// The names behind ".entry".
std::set<std::string> entries_of(const char* ptx) {
    std::set<std::string> names;
    for (const char* at = strstr(ptx, ".entry "); at != nullptr; at = strstr(at, ".entry ")) {
        at += strlen(".entry ");
        at += strspn(at, " \t\n");
        names.emplace(at, strcspn(at, " \t\n("));
    }
    return names;
}

}  // namespace
}  // namespace driver

using namespace driver;

CUDA_API CUresult cuDriverGetVersion(int* version);

CUDA_API CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (const CUresult error = forbid_in_capture()) return error;
    const char* text = static_cast<const char*>(image);
    if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::set<std::string> entries;
    if (!is_cubin(text)) {
        const char* version = strstr(text, ".version ");
        const char* target = strstr(text, ".target sm_");
        if (version == nullptr || target == nullptr) return CUDA_ERROR_INVALID_IMAGE;
        char* minor;
        const int ptx = strtol(version + strlen(".version "), &minor, 10) * 10 + atoi(minor + 1);
        int driver_version;
        cuDriverGetVersion(&driver_version);
        if (ptx > newest_ptx(driver_version)) return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
        if (!suits(target + strlen(".target sm_"))) return CUDA_ERROR_NO_BINARY_FOR_GPU;
        entries = entries_of(text);
    }
    calls.modules++;
    *module = give_out(new Module{current_context(), std::move(entries), {}});
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, int*, void**) {
    return cuModuleLoadData(module, image);
}

CUDA_API CUresult cuModuleLoad(CUmodule* module, const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
    const std::string image(std::istreambuf_iterator<char>(file), {});
    return cuModuleLoadData(module, image.c_str());
}

CUDA_API CUresult cuModuleUnload(CUmodule module) {
    const Lock lock;
    return destroy(module) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUDA_API CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (!is_live(module)) return CUDA_ERROR_INVALID_HANDLE;
    const simt::Kernel* kernel = simt::find_kernel(name);
    const bool in_image = module->entries.empty() || module->entries.count(name) != 0;
    if (kernel == nullptr || !in_image) return CUDA_ERROR_NOT_FOUND;
    std::unique_ptr<Function>& known = module->functions[name];
    if (!known) known = std::make_unique<Function>(Function{module, kernel, simt::SHARED_BYTES});
    *function = known.get();
    return CUDA_SUCCESS;
}

// `__device__` variables are not supported.
CUDA_API CUresult cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, CUmodule, const char*) { return CUDA_ERROR_NOT_FOUND; }

CUDA_API CUresult cuFuncGetAttribute(int* value, int attribute, CUfunction function) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    switch (attribute) {
        case 0: *value = function->kernel->max_threads; break;  // MAX_THREADS_PER_BLOCK
        case 5:                                                 // PTX_VERSION
        case 6: *value = capability(); break;             // BINARY_VERSION
        case 8: *value = function->max_dynamic_shared; break;   // MAX_DYNAMIC_SHARED_SIZE_BYTES
        default: *value = 0;
    }
    return attribute < 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUDA_API CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    constexpr int MAX_DYNAMIC_SHARED_SIZE_BYTES = 8, PREFERRED_SHARED_MEMORY_CARVEOUT = 9;
    if (attribute == PREFERRED_SHARED_MEMORY_CARVEOUT) return CUDA_SUCCESS;
    if (attribute != MAX_DYNAMIC_SHARED_SIZE_BYTES) return CUDA_ERROR_INVALID_VALUE;
    if (value < 0 || size_t(value) > model().most_shared) return CUDA_ERROR_INVALID_VALUE;
    function->max_dynamic_shared = value;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuFuncSetCacheConfig(CUfunction, int) {
    const Lock lock;
    return need_context();
}

CUDA_API CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                 unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                                 CUstream handle, void** arguments, void** extra) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    Stream* stream = find_stream(handle);
    if (stream == nullptr || function->module->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
    const simt::Kernel& kernel = *function->kernel;
    constexpr unsigned MAX_GRID_X = 0x7fffffff, MAX_GRID_YZ = 65535, MAX_BLOCK_Z = 64;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || block_x == 0 || block_y == 0 || block_z == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (grid_x > MAX_GRID_X || grid_y > MAX_GRID_YZ || grid_z > MAX_GRID_YZ) return CUDA_ERROR_INVALID_VALUE;
    if (block_x > simt::MAX_THREADS || block_y > simt::MAX_THREADS || block_z > MAX_BLOCK_Z)
        return CUDA_ERROR_INVALID_VALUE;
    if (block_x * block_y * block_z > simt::MAX_THREADS) return CUDA_ERROR_INVALID_VALUE;
    if (block_x * block_y * block_z > kernel.max_threads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (shared_bytes > function->max_dynamic_shared) return CUDA_ERROR_INVALID_VALUE;
    if (extra != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
    if (arguments == nullptr && kernel.parameter_count > 0) return CUDA_ERROR_INVALID_VALUE;

    const dim3 grid = {grid_x, grid_y, grid_z};
    const dim3 block = {block_x, block_y, block_z};
    Device& device = *stream->context->device;
    KernelWork work = {&device, &kernel, grid, block, shared_bytes, {}, {}};
    for (size_t i = 0; i < kernel.parameter_count; i++) {
        const auto& [bytes, alignment] = kernel.parameters[i];
        const size_t at = (work.arguments.size() + alignment - 1) / alignment * alignment;
        work.arguments.resize(at + bytes);
        memcpy(work.arguments.data() + at, arguments[i], bytes);
        work.offsets.push_back(at);
    }
    calls.launches++;
    return submit(*stream, std::move(work));
}

// Not supported, since the executor runs one block after the other.
CUDA_API CUresult cuLaunchCooperativeKernel(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                            unsigned, CUstream, void**) {
    return CUDA_ERROR_NOT_SUPPORTED;
}

// What the last launch's checks found and counted, of any thread and device.
CUDA_API const SimtReport* simt_report() { return &simt::executor.report; }
