// Tests of compute capability 9.0: mbarriers, TMA and wgmma. Usage: sm90_test LIBRARY
//
// Right kernels of test_kernels/sm90 give the right results in every order and nothing is found; and each bug of bugs.cuh
// is found by the check that should.
#include <cstring>

#include "executor/tensor_map.h"
#include "test.h"
#include "test_kernels/sm90/bugs.cuh"

using namespace test;

namespace {

constexpr int F16 = 6, F32 = 7, BF16 = 9;
constexpr int NO_SWIZZLE = 0, SWIZZLE_128 = 3;

CUmodule module;
const CUstream STREAM = nullptr;

CUfunction kernel(const char* name) {
    const CUfunction found = function(module, name);
    must("cuFuncSetAttribute", found, 8, 227 * 1024);
    return found;
}

struct Shape {
    std::vector<uint64_t> sizes;
    std::vector<uint64_t> strides;
    std::vector<unsigned> box;
};

CUresult encode(simt::TensorMap* map, int type, CUdeviceptr address, const Shape& shape, int swizzle) {
    const unsigned ones[5] = {1, 1, 1, 1, 1};
    return call("cuTensorMapEncodeTiled", map, type, unsigned(shape.sizes.size()), reinterpret_cast<void*>(address),
                shape.sizes.data(), shape.strides.data(), shape.box.data(), &ones[0], 0, swizzle, 2, 0);
}

// Rows of f16 or f32 at a pitch.
simt::TensorMap map_of(int type, CUdeviceptr address, unsigned columns, unsigned rows, unsigned pitch, unsigned box_columns,
                       unsigned box_rows, int swizzle = SWIZZLE_128) {
    alignas(64) simt::TensorMap map;
    const uint64_t bytes = type == F32 ? 4 : 2;
    const CUresult error =
        encode(&map, type, address, {{columns, rows}, {pitch * bytes}, {box_columns, box_rows}}, swizzle);
    expect(error == CUDA_SUCCESS, "cuTensorMapEncodeTiled: %d", error);
    return map;
}

struct Outcome {
    CUresult error;
    bool right;
};

struct RingParams {
    int tiles_m, tiles_n, steps, bug;
};

// Edges of the tiles are outside of all three tensors.
Outcome run_ring(bool add, Bug bug) {
    constexpr unsigned ROWS = 200, OUTPUTS = 104, INPUTS = 72 + 64;
    std::vector<uint16_t> a(ROWS * INPUTS), b(OUTPUTS * INPUTS);
    for (size_t i = 0; i < a.size(); i++) a[i] = half_of(wave(i, 37, 61));
    for (size_t i = 0; i < b.size(); i++) b[i] = half_of(wave(i, 53, 67));
    const Buffer<uint16_t> a_device(a), b_device(b), stored(ROWS * OUTPUTS);
    const Buffer<float> added(std::vector<float>(ROWS * OUTPUTS, 100.0f));
    const simt::TensorMap a_map = map_of(F16, a_device.address(), INPUTS, ROWS, INPUTS, 64, 128);
    const simt::TensorMap b_map = map_of(F16, b_device.address(), INPUTS, OUTPUTS, INPUTS, 64, 64);
    const simt::TensorMap out_map = add ? map_of(F32, added.address(), OUTPUTS, ROWS, OUTPUTS, 32, 16)
                                        : map_of(F16, stored.address(), OUTPUTS, ROWS, OUTPUTS, 64, 16);
    const RingParams params = {2, 2, 3, bug};
    const unsigned shared = 1024 + 2 * 192 * 128 + 8 * 2048 + 64 + (bug == MISALIGNED_SLAB ? 512 : 0);
    const CUresult error = launch(kernel(add ? "ring_product_add" : "ring_product_store"), 3, 384, shared, STREAM, params,
                                  a_map, b_map, out_map);
    const std::vector<uint16_t> halves = stored.download();
    const std::vector<float> floats = added.download();
    bool right = true;
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t output = 0; output < OUTPUTS; output++) {
            float sum = 0;
            for (size_t k = 0; k < INPUTS; k++) sum += wave(row * INPUTS + k, 37, 61) * wave(output * INPUTS + k, 53, 67);
            const size_t at = row * OUTPUTS + output;
            right &= add ? std::abs(floats[at] - 100 - sum) < 1e-4f
                         : std::abs(float_of(halves[at]) - sum) <= std::abs(sum) * 0x1p-11f + 1e-6f;
        }
    }
    return {error, right};
}

}  // namespace

int main(int, char** arguments) {
    open(arguments[1]);
    setenv("SIMT_CAPABILITY", "90", 1);
    must("cuInit", 0u);
    CUcontext context;
    must("cuDevicePrimaryCtxRetain", &context, 0);
    must("cuCtxSetCurrent", context);
    must("cuModuleLoadData", &module, static_cast<const void*>(PTX));
    for (const char* order : ORDERS) {
        setenv("SIMT_ORDER", order, 1);
        for (const bool add : {false, true}) {
            const Outcome outcome = run_ring(add, NO_BUG);
            expect(outcome.error == CUDA_SUCCESS && all_findings() == 0, "ring product, %s: %s", order, report().message);
            expect(outcome.right, "ring product, %s: wrong result", order);
        }
    }
    for (int bug = 1; bug < BUGS; bug++) {
        for (const char* order : ORDERS) {
            setenv("SIMT_ORDER", order, 1);
            const Outcome outcome = run_ring(false, Bug(bug));
            printf("%d %-8s %d %d %s\n", bug, order, outcome.error, outcome.right, report().message);
            fflush(stdout);
        }
    }
    return failures > 0;
}
