// Tests of the stand-in for the driver. Usage: driver_test LIBRARY
#include <cmath>
#include <cstring>
#include <thread>

#include "executor/tensor_map.h"
#include "test.h"

using namespace test;

namespace {

constexpr size_t MEMORY = 1 << 20;

CUcontext contexts[2];
CUmodule module;

void expect_error(CUresult expected, CUresult error, const char* what) {
    expect(error == expected, "%s: %d, not %d", what, error, expected);
}

CUstream new_stream() {
    CUstream stream;
    must("cuStreamCreate", &stream, 1u);
    return stream;
}

CUevent new_event(unsigned flags = 0) {
    CUevent event;
    must("cuEventCreate", &event, flags);
    return event;
}

// out[i] = 2·i for 64 numbers (test_kernels/features.cu).
CUresult launch_exchange(CUstream stream, CUdeviceptr out) {
    return launch(function(module, "feature_warp_barrier"), 1, 64, 0, stream, out);
}

void test_before_init() {
    int count;
    expect_error(CUDA_ERROR_NOT_INITIALIZED, call("cuDeviceGetCount", &count), "count before cuInit");
    setenv("SIMT_INIT", "803", 1);
    expect(call("cuInit", 0u) == 803, "SIMT_INIT");
    unsetenv("SIMT_INIT");
    setenv("SIMT_DEVICES", "0", 1);
    expect_error(CUDA_ERROR_NO_DEVICE, call("cuInit", 0u), "no device");
    setenv("SIMT_DEVICES", "2", 1);
    setenv("SIMT_MEMORY", std::to_string(MEMORY).c_str(), 1);
    must("cuInit", 0u);
    must("cuInit", 0u);
}

void test_devices() {
    int count, version, value;
    must("cuDeviceGetCount", &count);
    expect(count == 2, "%d devices", count);
    must("cuDriverGetVersion", &version);
    expect(version >= 12000, "driver version %d", version);
    CUdevice device;
    must("cuDeviceGet", &device, 1);
    expect(device == 1, "device");
    expect_error(CUDA_ERROR_INVALID_DEVICE, call("cuDeviceGet", &device, 2), "third of two devices");
    char name[64];
    must("cuDeviceGetName", name, 64, device);
    expect(strlen(name) > 0, "name");
    size_t bytes;
    must("cuDeviceTotalMem_v2", &bytes, device);
    expect(bytes == MEMORY, "memory of %zu bytes", bytes);
    const int attributes[][2] = {{1, 1024}, {8, 48 * 1024}, {10, 32},         {16, 108},
                                 {75, 8},   {76, 0},        {97, 163 * 1024}, {115, 1}};
    for (const auto& [attribute, expected] : attributes) {
        must("cuDeviceGetAttribute", &value, attribute, device);
        expect(value == expected, "attribute %d: %d", attribute, value);
    }
    setenv("SIMT_CAPABILITY", "90", 1);
    const int newer[][2] = {{16, 132}, {75, 9}, {76, 0}, {81, 228 * 1024}, {97, 227 * 1024}, {127, 1}};
    for (const auto& [attribute, expected] : newer) {
        must("cuDeviceGetAttribute", &value, attribute, device);
        expect(value == expected, "attribute %d of an H100: %d", attribute, value);
    }
    unsetenv("SIMT_CAPABILITY");
    const char* text;
    must("cuGetErrorName", CUDA_ERROR_LAUNCH_FAILED, &text);
    expect(strcmp(text, "CUDA_ERROR_LAUNCH_FAILED") == 0, "%s", text);
    must("cuGetErrorString", CUDA_ERROR_OUT_OF_MEMORY, &text);
    expect(strcmp(text, "out of memory") == 0, "%s", text);
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuGetErrorName", CUresult(12345), &text), "an error that is none");
}

void test_contexts() {
    CUdeviceptr address;
    expect_error(CUDA_ERROR_INVALID_CONTEXT, call("cuMemAlloc_v2", &address, size_t(1)),
                 "allocation without a context");
    for (int i = 0; i < 2; i++) must("cuDevicePrimaryCtxRetain", &contexts[i], i);
    CUcontext again, current;
    must("cuDevicePrimaryCtxRetain", &again, 0);
    expect(again == contexts[0], "one primary context a device");
    must("cuDevicePrimaryCtxRelease_v2", 0);
    must("cuCtxGetCurrent", &current);
    expect(current == nullptr, "current before one is set");
    must("cuCtxSetCurrent", contexts[0]);
    must("cuCtxPushCurrent_v2", contexts[1]);
    CUdevice device;
    must("cuCtxGetDevice", &device);
    expect(device == 1, "device of the pushed context");
    must("cuCtxPopCurrent_v2", &current);
    expect(current == contexts[1], "popped context");
    must("cuCtxGetCurrent", &current);
    expect(current == contexts[0], "context below");
    std::thread([] {
        CUcontext of_thread;
        must("cuCtxGetCurrent", &of_thread);
        expect(of_thread == nullptr, "another thread's context");
    }).join();
    must("cuCtxSynchronize");
}

void test_memory() {
    size_t left, total;
    must("cuMemGetInfo_v2", &left, &total);
    expect(left == MEMORY && total == MEMORY, "%zu of %zu bytes left", left, total);
    CUdeviceptr first, second;
    must("cuMemAlloc_v2", &first, MEMORY / 2);
    must("cuMemGetInfo_v2", &left, &total);
    expect(left == MEMORY / 2, "%zu bytes left", left);
    expect_error(CUDA_ERROR_OUT_OF_MEMORY, call("cuMemAlloc_v2", &second, MEMORY / 2 + 1), "more than is left");
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuMemAlloc_v2", &second, size_t(0)), "no bytes");
    // The other device has memory of its own.
    must("cuCtxPushCurrent_v2", contexts[1]);
    must("cuMemAlloc_v2", &second, MEMORY);
    CUcontext popped;
    must("cuCtxPopCurrent_v2", &popped);
    must("cuMemFree_v2", second);
    must("cuMemFree_v2", first);
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuMemFree_v2", first), "freed twice");
    must("cuMemFree_v2", CUdeviceptr(0));
    const CUstream stream = new_stream();
    must("cuMemAllocAsync", &first, MEMORY, stream);
    must("cuMemFreeAsync", first, stream);
    for (int i = 0; i < 100; i++) {
        must("cuMemAlloc_v2", &first, MEMORY);
        must("cuMemFree_v2", first);
    }
    must("cuStreamDestroy_v2", stream);
    expect_error(CUDA_ERROR_INVALID_HANDLE, call("cuStreamSynchronize", stream), "a stream that is no more");
}

void test_copies() {
    const CUstream stream = new_stream();
    Buffer<unsigned> a(100), b(100);
    unsigned* pinned;
    must("cuMemHostAlloc", reinterpret_cast<void**>(&pinned), size_t(400), 0u);
    for (unsigned i = 0; i < 100; i++) pinned[i] = i;
    must("cuMemcpyHtoDAsync_v2", a.address(), static_cast<const void*>(pinned), size_t(400), stream);
    must("cuMemcpyDtoDAsync_v2", b.address(), a.address(), size_t(400), stream);
    must("cuMemsetD8Async", b.address(), static_cast<unsigned char>(7), size_t(4), stream);
    must("cuMemsetD32Async", b.address() + 4, 9u, size_t(2), stream);
    must("cuMemcpyDtoHAsync_v2", static_cast<void*>(pinned), b.address(), size_t(400), stream);
    must("cuStreamSynchronize", stream);
    for (unsigned i = 0; i < 100; i++) {
        expect(pinned[i] == (i == 0 ? 0x07070707u : i < 3 ? 9 : i), "copied element %u: %u", i, pinned[i]);
    }
    expect_error(CUDA_ERROR_INVALID_VALUE,
                 call("cuMemcpyHtoD_v2", a.address() + 4, static_cast<const void*>(pinned), size_t(400)),
                 "copy past the end");
    expect_error(CUDA_ERROR_INVALID_VALUE,
                 call("cuMemsetD8_v2", a.address(), static_cast<unsigned char>(0), size_t(401)), "fill past the end");
    must("cuMemFreeHost", static_cast<void*>(pinned));
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuMemFreeHost", static_cast<void*>(pinned)),
                 "pinned memory freed twice");
    must("cuStreamDestroy_v2", stream);
}

void test_events() {
    const CUevent begin = new_event(), end = new_event(), without_time = new_event(2);
    float milliseconds;
    expect_error(CUDA_ERROR_INVALID_HANDLE, call("cuEventElapsedTime", &milliseconds, begin, end), "time of no record");
    must("cuEventQuery", begin);
    must("cuEventRecord", begin, CUstream(nullptr));
    Buffer<int> out(64);
    must("cuEventRecord", end, CUstream(nullptr));
    must("cuEventSynchronize", end);
    must("cuEventElapsedTime", &milliseconds, begin, end);
    expect(milliseconds > 0 && milliseconds < 1000, "%f ms", milliseconds);
    must("cuEventRecord", without_time, CUstream(nullptr));
    expect_error(CUDA_ERROR_INVALID_HANDLE, call("cuEventElapsedTime", &milliseconds, begin, without_time),
                 "time of an event without");
    for (const CUevent event : {begin, end, without_time}) must("cuEventDestroy_v2", event);
    expect_error(CUDA_ERROR_INVALID_HANDLE, call("cuEventQuery", begin), "an event that is no more");
}

void test_modules() {
    CUmodule other;
    const auto load = [&](const std::string& image) {
        return call("cuModuleLoadData", &other, static_cast<const void*>(image.c_str()));
    };
    expect_error(CUDA_ERROR_INVALID_IMAGE, load("neither PTX nor a cubin"), "an image that is none");
    expect_error(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, load(".version 9.9\n.target sm_80\n"), "PTX of the future");
    setenv("SIMT_DRIVER_VERSION", "12000", 1);
    expect_error(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, load(".version 8.1\n.target sm_80\n"),
                 "PTX newer than the driver");
    unsetenv("SIMT_DRIVER_VERSION");
    expect_error(CUDA_ERROR_NO_BINARY_FOR_GPU, load(".version 8.0\n.target sm_90\n"), "PTX for a newer device");
    setenv("SIMT_CAPABILITY", "90", 1);
    expect_error(CUDA_SUCCESS, load(".version 8.0\n.target sm_80\n"), "PTX for an older device");
    must("cuModuleUnload", other);
    expect_error(CUDA_SUCCESS, load(".version 8.0\n.target sm_90a\n"), "PTX for exactly this device");
    must("cuModuleUnload", other);
    setenv("SIMT_CAPABILITY", "100", 1);
    expect_error(CUDA_ERROR_NO_BINARY_FOR_GPU, load(".version 8.0\n.target sm_90a\n"),
                 "PTX for exactly another device");
    unsetenv("SIMT_CAPABILITY");
    std::string cubin = "\177ELF" + std::string(60, '\0');
    cubin[18] = char(190);
    expect_error(CUDA_SUCCESS, load(cubin), "cubin");
    must("cuModuleUnload", other);
    CUfunction found;
    must("cuModuleLoadData", &module, static_cast<const void*>(PTX));
    expect_error(CUDA_ERROR_NOT_FOUND, call("cuModuleGetFunction", &found, module, "no_such_kernel"), "unknown kernel");
    expect_error(CUDA_SUCCESS, load(PTX + std::string(".visible .entry product(\n")), "PTX with a kernel");
    must("cuModuleGetFunction", &found, other, "product");
    expect_error(CUDA_ERROR_NOT_FOUND, call("cuModuleGetFunction", &found, other, "softmax"),
                 "a kernel that is not in the PTX");
    must("cuModuleUnload", other);
}

void test_launch_limits() {
    Buffer<int> data(64);
    const CUstream stream = nullptr;
    const CUfunction nothing = function(module, "feature_nothing"), bound = function(module, "product");
    expect_error(CUDA_SUCCESS, launch(nothing, {3, 2, 1}, {1024}, 48 * 1024, stream), "launch");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, 1, {1025}, 0, stream), "1025 threads");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, 1, {32, 33}, 0, stream), "32 · 33 threads");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, 1, {1, 1, 65}, 0, stream), "65 threads in z");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, {0}, 1, 0, stream), "no block");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, {1, 65536}, 1, 0, stream), "65536 blocks in y");
    expect_error(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
                 launch(bound, 1, 256, 0, stream, data.address(), data.address(), data.address(), 0, 0),
                 "more threads than the launch bound");
    expect_error(CUDA_ERROR_INVALID_VALUE, launch(nothing, 1, 1, 48 * 1024 + 1, stream),
                 "more than 48 KiB of shared memory");
    must("cuFuncSetAttribute", nothing, 8, 163 * 1024);
    expect_error(CUDA_SUCCESS, launch(nothing, 1, 1, 163 * 1024, stream), "163 KiB of shared memory");
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuFuncSetAttribute", nothing, 8, 163 * 1024 + 1), "more than 163 KiB");
    int value;
    must("cuFuncGetAttribute", &value, 0, bound);
    expect(value == 128, "launch bound %d", value);
    int blocks;
    must("cuOccupancyMaxActiveBlocksPerMultiprocessor", &blocks, bound, 128, size_t(0));
    expect(blocks == 16, "%d blocks", blocks);
    // Memory of the other device.
    must("cuCtxPushCurrent_v2", contexts[1]);
    CUdeviceptr others;
    must("cuMemAlloc_v2", &others, size_t(256));
    CUcontext popped;
    must("cuCtxPopCurrent_v2", &popped);
    expect_error(CUDA_ERROR_LAUNCH_FAILED, launch_exchange(stream, others), "memory of another device");
    must("cuMemFree_v2", others);
    // The context is usable after the failed launch.
    expect_error(CUDA_SUCCESS, launch_exchange(stream, data.address()), "launch after a failed one");
}

// What cuTensorMapEncodeTiled takes: f16 of 64 × 32 at a pitch of 128 bytes, with one thing at a time that is wrong.
struct MapArguments {
    int type = 6;
    unsigned rank = 2;
    size_t offset = 0;
    uint64_t sizes[5] = {64, 32, 1, 1, 1};
    uint64_t strides[4] = {128, 4096, 4096, 4096};
    unsigned box[5] = {64, 16, 1, 1, 1};
    unsigned element_strides[5] = {1, 1, 1, 1, 1};
    int interleave = 0, swizzle = 3, promotion = 2, fill = 0;
};

void test_tensor_maps() {
    const Buffer<uint16_t> memory(64 * 32);
    alignas(64) simt::TensorMap map[2];
    const auto encode = [&](const MapArguments& given, size_t map_offset = 0) {
        return call("cuTensorMapEncodeTiled",
                    reinterpret_cast<simt::TensorMap*>(reinterpret_cast<char*>(&map[0]) + map_offset), given.type,
                    given.rank, reinterpret_cast<void*>(memory.address() + given.offset), &given.sizes[0],
                    &given.strides[0], &given.box[0], &given.element_strides[0], given.interleave, given.swizzle,
                    given.promotion, given.fill);
    };
    expect_error(CUDA_ERROR_NOT_SUPPORTED, encode({}), "a tensor map on an A100");
    setenv("SIMT_CAPABILITY", "90", 1);
    expect_error(CUDA_SUCCESS, encode({}), "a tensor map");
    setenv("SIMT_TENSOR_MAP", "fail", 1);
    expect_error(CUDA_ERROR_INVALID_VALUE, encode({}), "SIMT_TENSOR_MAP");
    unsetenv("SIMT_TENSOR_MAP");
    expect_error(CUDA_ERROR_INVALID_VALUE, encode({}, 32), "a map at no multiple of 64");
    const auto expect_invalid = [&](const char* what, auto&& change) {
        MapArguments arguments;
        change(arguments);
        expect_error(CUDA_ERROR_INVALID_VALUE, encode(arguments), what);
    };
    expect_invalid("no dimension", [](MapArguments& m) { m.rank = 0; });
    expect_invalid("six dimensions", [](MapArguments& m) { m.rank = 6; });
    expect_invalid("an unknown type", [](MapArguments& m) { m.type = 13; });
    expect_invalid("a misaligned tensor", [](MapArguments& m) { m.offset = 8; });
    expect_invalid("an empty tensor", [](MapArguments& m) { m.sizes[1] = 0; });
    expect_invalid("a misaligned pitch", [](MapArguments& m) { m.sizes[0] = 60, m.strides[0] = 120; });
    expect_invalid("a pitch below a row", [](MapArguments& m) { m.strides[0] = 112; });
    expect_invalid("a box of 257 rows", [](MapArguments& m) { m.box[1] = 257; });
    expect_invalid("a box of no row", [](MapArguments& m) { m.box[1] = 0; });
    expect_invalid("a row beyond the swizzle", [](MapArguments& m) { m.box[0] = 72; });
    expect_invalid("a row of 24 bytes", [](MapArguments& m) { m.box[0] = 12, m.swizzle = 0; });
    expect_invalid("an element stride of 9", [](MapArguments& m) { m.element_strides[0] = 9; });
    expect_invalid("an unknown swizzle", [](MapArguments& m) { m.swizzle = 4; });

    // A kernel uses what its map is of: here on a stream that nothing orders behind the other's upload.
    const CUstream copies = new_stream(), compute = new_stream();
    CUdeviceptr unordered;
    must("cuMemAllocAsync", &unordered, size_t(4096), copies);
    MapArguments arguments;
    arguments.type = 7, arguments.swizzle = 0, arguments.box[0] = 8, arguments.box[1] = 4, arguments.box[2] = 2;
    arguments.rank = 3, arguments.sizes[0] = 16, arguments.sizes[1] = 8, arguments.strides[0] = 64;
    arguments.offset = unordered - memory.address();
    must("cuStreamSynchronize", copies);
    expect_error(CUDA_SUCCESS, encode(arguments), "a map of three dimensions");
    const simt::TensorMap from = map[0];
    arguments.rank = 2, arguments.box[1] = 8;
    expect_error(CUDA_SUCCESS, encode(arguments), "a map of two dimensions");
    const simt::TensorMap to = map[0];
    for (const bool ordered : {true, false}) {
        must("cuMemsetD8Async", unordered, static_cast<unsigned char>(0), size_t(4096), copies);
        if (ordered) must("cuStreamSynchronize", copies);
        const CUresult error =
            launch(function(module, "transfer"), 1, 32, 1032, compute, from, to, 0, 0, 0, 0, 0, 256, 0, 0);
        expect_error(ordered ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED, error, "TMA behind a fill");
        expect(ordered || report().findings[SIMT_UNORDERED] > 0, "%s", report().message);
        if (ordered) {
            expect_error(CUDA_ERROR_LAUNCH_FAILED, call("cuMemFreeAsync", unordered, copies), "memory freed beside TMA");
        }
        must("cuStreamSynchronize", compute);
    }
    must("cuStreamSynchronize", copies);
    must("cuMemFree_v2", unordered);
    for (const CUstream stream : {copies, compute}) must("cuStreamDestroy_v2", stream);
    unsetenv("SIMT_CAPABILITY");
}

// Two streams: accesses that no event orders are found, and ordered ones pass.
void test_order() {
    const CUstream copies = new_stream(), compute = new_stream();
    const CUevent uploaded = new_event(2), downloaded = new_event(2);
    const CUfunction reverse = function(module, "feature_reverse_60");
    constexpr size_t BYTES = 64 * sizeof(int);
    int* pinned;
    must("cuMemHostAlloc", reinterpret_cast<void**>(&pinned), BYTES, 0u);
    const auto upload = [&](CUdeviceptr to) {
        return call("cuMemcpyHtoDAsync_v2", to, static_cast<const void*>(pinned), BYTES, copies);
    };
    const auto found = [](CUresult error, const char* what) { expect_error(CUDA_ERROR_LAUNCH_FAILED, error, what); };
    for (const bool ordered : {false, true}) {
        CUdeviceptr memory;
        must("cuMemAllocAsync", &memory, BYTES, copies);
        for (int i = 0; i < 64; i++) pinned[i] = i;
        expect_error(CUDA_SUCCESS, upload(memory), "upload");
        must("cuEventRecord", uploaded, copies);
        if (ordered) must("cuStreamWaitEvent", compute, uploaded, 0u);
        const CUresult error = launch(reverse, 1, 64, 0, compute, memory);
        expect_error(ordered ? CUDA_SUCCESS : CUDA_ERROR_LAUNCH_FAILED, error, "a kernel behind an upload");
        expect(ordered || report().findings[SIMT_UNORDERED] > 0, "%s", report().message);
        if (!ordered) must("cuStreamWaitEvent", compute, uploaded, 0u);
        if (!ordered) found(call("cuMemcpyDtoDAsync_v2", memory, memory, BYTES, copies), "a copy beside a kernel");
        found(call("cuMemFreeAsync", memory, copies), "memory freed beside a kernel");

        must("cuEventSynchronize", uploaded);
        pinned[0] = 100;
        must("cuMemcpyDtoHAsync_v2", static_cast<void*>(pinned), memory, BYTES, compute);
        must("cuEventRecord", downloaded, compute);
        expect(pinned[5] != (ordered ? 54 : 5), "a download that is there before it was waited for");
        must("cuEventSynchronize", downloaded);
        expect(!ordered || pinned[5] == 54, "a download: %d", pinned[5]);
        must("cuMemFreeAsync", memory, compute);
    }

    CUdeviceptr memory;
    must("cuMemAllocAsync", &memory, BYTES, copies);
    expect_error(CUDA_SUCCESS, upload(memory), "upload");
    expect_error(CUDA_SUCCESS, upload(memory), "an upload of the same");
    pinned[7]++;
    found(upload(memory), "an upload of what was changed too early");
    pinned[7]--;
    must("cuStreamSynchronize", copies);
    expect_error(CUDA_SUCCESS, upload(memory), "upload");
    must("cuEventRecord", uploaded, copies);
    pinned[7]++;
    found(call("cuEventSynchronize", uploaded), "pinned memory that was changed too early");
    expect_error(CUDA_SUCCESS, upload(memory), "upload");
    must("cuEventRecord", uploaded, copies);
    found(call("cuMemcpyDtoHAsync_v2", static_cast<void*>(pinned), memory, BYTES, compute), "an unordered download");
    must("cuStreamWaitEvent", compute, uploaded, 0u);
    must("cuMemcpyDtoHAsync_v2", static_cast<void*>(pinned), memory, BYTES, compute);
    found(call("cuMemFreeHost", static_cast<void*>(pinned)), "pinned memory freed before its copy");
    must("cuMemFreeAsync", memory, compute);
    for (const CUevent event : {uploaded, downloaded}) must("cuEventDestroy_v2", event);
    for (const CUstream stream : {copies, compute}) must("cuStreamDestroy_v2", stream);
}

void test_calls() {
    const auto calls = [] { return *reinterpret_cast<const SimtCalls* (*)()>(dlsym(library, "simt_calls"))(); };
    const SimtCalls before = calls();
    const CUstream stream = new_stream();
    const CUevent event = new_event(2);
    Buffer<int> out(64);
    expect_error(CUDA_SUCCESS, launch_exchange(stream, out.address()), "launch");
    out.download();
    must("cuEventRecord", event, stream);
    for (int i = 0; i < 3; i++) must("cuEventSynchronize", event);
    must("cuEventDestroy_v2", event);
    must("cuStreamDestroy_v2", stream);
    const SimtCalls after = calls();
    expect(after.launches - before.launches == 1, "launches");
    expect(after.uploads == before.uploads && after.downloads - before.downloads == 1, "copies");
    expect(after.waits - before.waits == 2, "%d waits: a download and an event", int(after.waits - before.waits));
    expect(after.modules == before.modules && before.modules > 0, "modules");
}

void test_graph() {
    const CUstream stream = new_stream();
    std::vector<int> host(64, 5);
    Buffer<int> input(std::vector<int>(64, 1)), out(std::vector<int>(64, 0));
    const CUfunction reverse = function(module, "feature_reverse_60");
    must("cuStreamBeginCapture_v2", stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    CUstreamCaptureStatus status;
    must("cuStreamIsCapturing", stream, &status);
    expect(status == CU_STREAM_CAPTURE_STATUS_ACTIVE, "capturing");
    must("cuMemcpyDtoDAsync_v2", out.address(), input.address(), size_t(256), stream);
    {
        // The argument is gone when the graph runs.
        CUdeviceptr argument = out.address();
        void* arguments[] = {&argument};
        must("cuLaunchKernel", reverse, 1u, 1u, 1u, 64u, 1u, 1u, 0u, stream, arguments, static_cast<void**>(nullptr));
        argument = 0;
    }
    must("cuMemsetD32Async", out.address(), 77u, size_t(1), stream);
    must("cuMemcpyDtoHAsync_v2", static_cast<void*>(host.data()), out.address(), size_t(256), stream);
    CUgraph graph;
    must("cuStreamEndCapture", stream, &graph);
    expect(out.download()[0] == 0 && host[0] == 5, "a capture that ran");
    CUgraphExec executable;
    must("cuGraphInstantiateWithFlags", &executable, graph, 0ull);
    must("cuGraphDestroy", graph);
    must("cuGraphUpload", executable, stream);
    for (int round = 0; round < 3; round++) {
        std::vector<int> values(64);
        for (int i = 0; i < 64; i++) values[i] = i * (round + 1);
        input.upload(values);
        must("cuGraphLaunch", executable, stream);
        for (int i = 0; i < 64; i++) {
            const int expected = i == 0 ? 77 : i < 60 ? (59 - i) * (round + 1) : i * (round + 1);
            expect(host[i] == expected, "graph, round %d, element %d: %d", round, i, host[i]);
        }
    }
    // Work of a graph fails like any other.
    out.release();
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuGraphLaunch", executable, stream), "a graph with freed memory");
    must("cuGraphExecDestroy", executable);
    expect_error(CUDA_ERROR_INVALID_VALUE, call("cuGraphLaunch", executable, stream), "a graph that is no more");
    must("cuStreamDestroy_v2", stream);
}

void test_capture_rules() {
    const CUstream stream = new_stream(), other = new_stream();
    const CUevent before = new_event(), fork = new_event(), join = new_event();
    Buffer<int> out(64);
    CUgraph graph;
    CUdeviceptr address;
    expect_error(CUDA_ERROR_ILLEGAL_STATE, call("cuStreamEndCapture", stream, &graph), "end without begin");
    expect_error(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                 call("cuStreamBeginCapture_v2", CUstream(nullptr), CU_STREAM_CAPTURE_MODE_GLOBAL),
                 "capture of the default stream");

    const auto begin = [&] { must("cuStreamBeginCapture_v2", stream, CU_STREAM_CAPTURE_MODE_GLOBAL); };
    const auto expect_end = [&](CUresult expected, const char* what) {
        expect_error(expected, call("cuStreamEndCapture", stream, &graph), what);
        if (expected == CUDA_SUCCESS) must("cuGraphDestroy", graph);
    };
    begin();
    expect_error(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, call("cuStreamSynchronize", stream), "synchronize");
    expect_error(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, launch_exchange(stream, out.address()),
                 "work of a capture that is invalid");
    expect_end(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "end after synchronize");

    begin();
    expect_error(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, call("cuMemAlloc_v2", &address, size_t(4)), "allocation");
    expect_end(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "end after allocation");

    must("cuEventRecord", before, stream);
    begin();
    expect_error(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, call("cuStreamWaitEvent", stream, before, 0u), "what was before");
    expect_end(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "end after isolation");

    // Another stream joins by an event, and must come back.
    for (const bool back : {true, false}) {
        begin();
        must("cuEventRecord", fork, stream);
        must("cuStreamWaitEvent", other, fork, 0u);
        expect_error(CUDA_SUCCESS, launch_exchange(other, out.address()), "work of the other stream");
        must("cuEventRecord", join, other);
        if (back) must("cuStreamWaitEvent", stream, join, 0u);
        expect_end(back ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "end with two streams");
        CUstreamCaptureStatus status;
        must("cuStreamIsCapturing", other, &status);
        expect(status == CU_STREAM_CAPTURE_STATUS_NONE, "the other stream after the end");
        expect_error(CUDA_ERROR_CAPTURED_EVENT, call("cuEventSynchronize", join), "an event of a capture");
    }

    // In the thread-local mode another thread may allocate.
    must("cuStreamBeginCapture_v2", stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    std::thread([&] {
        must("cuCtxSetCurrent", contexts[0]);
        must("cuMemAlloc_v2", &address, size_t(4));
        must("cuMemFree_v2", address);
    }).join();
    expect_end(CUDA_SUCCESS, "end after another thread's allocation");
    for (const CUevent event : {before, fork, join}) must("cuEventDestroy_v2", event);
    for (const CUstream destroyed : {stream, other}) must("cuStreamDestroy_v2", destroyed);
}

void test_threads() {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([i] {
            must("cuCtxSetCurrent", contexts[0]);
            const CUstream stream = new_stream();
            for (int round = 0; round < 50; round++) {
                Buffer<int> out(64);
                expect_error(CUDA_SUCCESS, launch_exchange(stream, out.address()), "launch of a thread");
                const std::vector<int> values = out.download();
                for (int j = 0; j < 64; j++) expect(values[j] == j * 2, "thread %d, element %d: %d", i, j, values[j]);
            }
            must("cuStreamDestroy_v2", stream);
        });
    }
    for (std::thread& thread : threads) thread.join();
}

void test_end() {
    must("cuModuleUnload", module);
    for (int i = 0; i < 2; i++) must("cuDevicePrimaryCtxRelease_v2", i);
    expect_error(CUDA_ERROR_INVALID_CONTEXT, call("cuDevicePrimaryCtxRelease_v2", 0), "released once too often");
    expect_error(CUDA_ERROR_INVALID_CONTEXT, call("cuCtxSynchronize"), "a context that is no more");
}

}  // namespace

int main(int, char** arguments) {
    open(arguments[1]);
    test_before_init();
    test_devices();
    test_contexts();
    test_memory();
    test_copies();
    test_events();
    test_modules();
    test_launch_limits();
    test_tensor_maps();
    test_order();
    test_calls();
    test_graph();
    test_capture_rules();
    test_threads();
    test_end();
    return failures > 0;
}
