// Tests of compute capability 9.0: mbarriers, TMA and wgmma. Usage: sm90_test LIBRARY
//
// Right kernels of test_kernels/sm90 give the right results in every order and nothing is found; and each bug of
// bugs.cuh is found by the check that should.
#include <array>
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
simt::TensorMap map_of(int type, CUdeviceptr address, unsigned columns, unsigned rows, unsigned pitch,
                       unsigned box_columns, unsigned box_rows, int swizzle = SWIZZLE_128) {
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
    const CUresult error = launch(kernel(add ? "ring_product_add" : "ring_product_store"), 3, 384, shared, STREAM,
                                  params, a_map, b_map, out_map);
    const std::vector<uint16_t> halves = stored.download();
    const std::vector<float> floats = added.download();
    bool right = true;
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t output = 0; output < OUTPUTS; output++) {
            float sum = 0;
            for (size_t k = 0; k < INPUTS; k++) {
                sum += wave(row * INPUTS + k, 37, 61) * wave(output * INPUTS + k, 53, 67);
            }
            const size_t at = row * OUTPUTS + output;
            right &= add ? std::abs(floats[at] - 100 - sum) < 1e-4f
                         : std::abs(float_of(halves[at]) - sum) <= std::abs(sum) * 0x1p-11f + 1e-6f;
        }
    }
    return {error, right};
}

// --- Other right kernels.

// Element (row, k) of the operands below.
float left(size_t row, size_t k) { return wave(row * 64 + k, 37, 61); }
float right(size_t row, size_t k) { return wave(row * 64 + k, 53, 67); }

std::vector<uint16_t> operand(float (*element)(size_t, size_t), size_t rows) {
    std::vector<uint16_t> halves(rows * 64);
    for (size_t i = 0; i < halves.size(); i++) halves[i] = half_of(element(i / 64, i % 64));
    return halves;
}

void expect_clean(CUresult error, const char* name) {
    expect(error == CUDA_SUCCESS && all_findings() == 0, "%s: %d, %s", name, error, report().message);
}

void test_multiply(unsigned columns) {
    const Buffer<uint16_t> a(operand(left, 64)), b(operand(right, columns));
    const Buffer<float> out(64 * columns);
    const std::string name = "multiply_" + std::to_string(columns);
    const simt::TensorMap a_map = map_of(F16, a.address(), 64, 64, 64, 64, 64);
    const simt::TensorMap b_map = map_of(F16, b.address(), 64, columns, 64, 64, columns);
    const CUresult error = launch(kernel(name.c_str()), 1, 128, (64 + columns) * 128 + 8, STREAM, a_map, b_map,
                                  out.address());
    expect_clean(error, name.c_str());
    expect(report().wgmma == 4, "count of wgmma");
    const std::vector<float> values = out.download();
    for (size_t row = 0; row < 64; row++) {
        for (size_t column = 0; column < columns; column++) {
            float sum = 1;
            for (size_t k = 0; k < 64; k++) sum += left(row, k) * right(column, k);
            expect(values[row * columns + column] == sum, "%s (%zu, %zu)", name.c_str(), row, column);
        }
    }
}

// Of the second 64 values the last four rows are outside of the map.
CUresult run_weigh(Bug bug, bool check) {
    constexpr size_t INSIDE = 60;
    const Buffer<uint16_t> weights(operand(left, 64)), values(operand(right, 128)), more(operand(left, 64));
    const Buffer<float> out(2 * 64 * 64);
    alignas(64) simt::TensorMap map;
    const Shape shape = {{64, INSIDE, 2}, {128, 64 * 128}, {64, 64, 1}};
    expect(encode(&map, F16, values.address(), shape, SWIZZLE_128) == CUDA_SUCCESS, "a map of three dimensions");
    const CUresult error = launch(kernel("weigh"), 1, 256, 3 * 8192 + 16, STREAM, weights.address(), map,
                                  more.address(), out.address(), int(bug));
    if (!check) return error;
    expect_clean(error, "weigh");
    const std::vector<float> results = out.download();
    for (size_t i = 0; i < results.size(); i++) {
        const size_t group = i / 4096, row = i / 64 % 64, column = i % 64;
        float sum = 0;
        for (size_t k = 0; k < 64; k++) {
            sum += left(row, k) * ((k < INSIDE ? right(group * 64 + k, column) : 0) + left(k, column));
        }
        expect(std::abs(results[i] - sum) < 1e-4f, "weigh, element %zu: %f, not %f", i, results[i], sum);
    }
    return error;
}

void test_store_matrices() {
    const Buffer<uint16_t> out(256);
    expect_clean(launch(kernel("store_matrices"), 1, 32, 0, STREAM, out.address()), "stmatrix");
    const std::vector<uint16_t> values = out.download();
    for (unsigned i = 0; i < 256; i++) expect(values[i] == i, "stmatrix, element %u: %u", i, values[i]);
}

// x, y and z in the first tensor, x and y in the second.
typedef std::array<int, 5> At;

// From a tensor of 20 × 6 × 3 elements at a pitch of 24, with `numbers` in turn, to one of 12 × 7 at a pitch of 16,
// filled with `before`; where `after` is given, elements are added, and a number and `before` give that.
template <typename T>
CUresult run_transfer(Bug bug, int type, const At& at, const std::vector<T>& numbers, T before,
                      const T* after = nullptr) {
    std::vector<T> from(24 * 6 * 3);
    for (size_t i = 0; i < from.size(); i++) from[i] = numbers[i % numbers.size()];
    const Buffer<T> from_device(from), to_device(std::vector<T>(16 * 8, before));
    alignas(64) simt::TensorMap from_map = {}, to_map = {};
    const uint64_t bytes = sizeof(T);
    const Shape from_shape = {{20, 6, bug == TENSOR_PAST_ALLOCATION ? 4ul : 3ul}, {24 * bytes, 144 * bytes}, {8, 4, 2}};
    expect(encode(&from_map, type, from_device.address(), from_shape, NO_SWIZZLE) == CUDA_SUCCESS, "a map to read by");
    expect(encode(&to_map, type, to_device.address(), {{12, 7}, {16 * bytes}, {8, 8}}, NO_SWIZZLE) == CUDA_SUCCESS,
           "a map to write by");
    if (bug == MAP_NOT_ENCODED) from_map = {};
    const CUresult error = launch(kernel("transfer"), 1, 32, 1032, STREAM, from_map, to_map, at[0], at[1], at[2], at[3],
                                  at[4], int(64 * bytes), int(after != nullptr), int(bug));
    if (bug != NO_BUG) return error;
    expect_clean(error, "transfer");
    const std::vector<T> results = to_device.download();
    for (int y = 0; y < 8; y++) {
        for (int x = 0; x < 16; x++) {
            const int column = x - at[3], row = y - at[4];
            T expected = before;
            if (column >= 0 && column < 8 && row >= 0 && row < 8 && x < 12 && y < 7) {
                const int i = at[0] + column, j = at[1] + row % 4, k = at[2] + row / 4;
                const bool inside = i >= 0 && i < 20 && j >= 0 && j < 6 && k >= 0 && k < 3;
                if (after != nullptr) {
                    expected = inside ? *after : before;
                } else {
                    expected = inside ? from[(k * 6 + j) * 24 + i] : T(0);
                }
            }
            const bool same = memcmp(&results[y * 16 + x], &expected, sizeof(T)) == 0;
            expect(same, "transfer of type %d, (%d, %d)", type, x, y);
        }
    }
    return error;
}

// Within both tensors, at the ends of both, before the begins.
constexpr At WITHIN = {4, 1, 0, 2, 0}, ENDS = {15, 4, 2, 7, 3}, BEGINS = {-3, -2, -1, -4, -5};

void test_transfers() {
    std::vector<float> floats(97);
    for (size_t i = 0; i < floats.size(); i++) floats[i] = i + 1;
    std::vector<uint16_t> halves(97);
    for (size_t i = 0; i < halves.size(); i++) halves[i] = i + 1;
    // One and two in f16 and in bf16.
    const float two = 2;
    const uint16_t two_f16 = 0x4000, two_bf16 = 0x4000;
    for (const auto& at : {WITHIN, ENDS, BEGINS}) {
        run_transfer<float>(NO_BUG, F32, at, floats, -1);
        run_transfer<uint16_t>(NO_BUG, F16, at, halves, 0x1234);
        run_transfer<float>(NO_BUG, F32, at, {1}, 1, &two);
        run_transfer<uint16_t>(NO_BUG, F16, at, {0x3c00}, 0x3c00, &two_f16);
        run_transfer<uint16_t>(NO_BUG, BF16, at, {0x3f80}, 0x3f80, &two_bf16);
    }
}

CUresult run_exchange(Bug bug, bool check) {
    constexpr int ROUNDS = 3;
    const Buffer<int> out(256);
    const CUresult error = launch(kernel("exchange"), 1, 256, 0, STREAM, out.address(), ROUNDS, int(bug));
    if (!check) return error;
    expect_clean(error, "exchange");
    const std::vector<int> values = out.download();
    for (int i = 0; i < 256; i++) {
        const int thread = i % 128;
        int sum = (thread ^ 96) * (thread ^ 96);
        for (int round = 0; i >= 128 && round < ROUNDS; round++) sum += ((thread ^ 1) + (thread ^ 32)) * 10 + 3 * round;
        expect(values[i] == sum, "exchange, thread %d: %d, not %d", i, values[i], sum);
    }
    return error;
}

// --- Bugs.

CUresult run(Bug bug) {
    if (bug < NAMED_BARRIER_OF_TOO_MANY) return run_ring(false, bug).error;
    if (bug < MAP_NOT_ENCODED) return run_exchange(bug, false);
    if (bug < NO_PROXY_FENCE_BEFORE_WGMMA) return run_transfer<float>(bug, F32, ENDS, {1}, 0);
    return run_weigh(bug, false);
}

void test_bugs() {
    struct Check {
        Bug bug;
        const char* name;
        // Which of them depends on the order.
        std::vector<SimtFinding> findings;
    };
    static const Check CHECKS[] = {
        {NO_INIT_FENCE, "no mbarrier_init_fence", {SIMT_PROXY}},
        {NO_BARRIER_AFTER_INIT, "no barrier after init", {SIMT_MBARRIER}},
        {UNINITIALISED_MBARRIER, "uninitialised mbarrier", {SIMT_MBARRIER}},
        {TOO_FEW_BYTES_EXPECTED, "too few bytes expected", {SIMT_MBARRIER, SIMT_IN_FLIGHT}},
        {TOO_MANY_BYTES_EXPECTED, "too many bytes expected", {SIMT_DEADLOCK}},
        {TOO_MANY_ARRIVALS_NEEDED, "too many arrivals needed", {SIMT_DEADLOCK}},
        {TOO_FEW_ARRIVALS_NEEDED, "too few arrivals needed", {SIMT_PENDING, SIMT_IN_FLIGHT}},
        {NO_WAIT_FOR_FULL, "no wait for a full slab", {SIMT_UNINITIALISED, SIMT_IN_FLIGHT}},
        {WRONG_PARITY_OF_FULL, "wrong parity", {SIMT_UNINITIALISED, SIMT_IN_FLIGHT, SIMT_DEADLOCK}},
        {NO_WAIT_FOR_EMPTY, "no wait for an empty slab", {SIMT_MBARRIER, SIMT_PENDING}},
        {SLAB_GIVEN_BACK_EARLY, "slab given back early", {SIMT_PENDING}},
        {SUMS_READ_EARLY, "accumulators read early", {SIMT_REGISTERS}},
        {NO_WGMMA_FENCE, "no wgmma_fence", {SIMT_REGISTERS}},
        {NO_WGMMA_FENCE_OF_SECOND_TILE, "no second wgmma_fence", {SIMT_REGISTERS}},
        {NO_WGMMA_WAIT, "no wgmma_wait", {SIMT_PENDING}},
        {WARP_WITHOUT_WGMMA, "a warp without wgmma", {SIMT_COLLECTIVE}},
        {DIFFERENT_OPERANDS, "different operands", {SIMT_COLLECTIVE}},
        {MISALIGNED_SLAB, "misaligned slab", {SIMT_MISALIGNED}},
        {SLAB_OUTSIDE, "slab outside", {SIMT_OUT_OF_BOUNDS}},
        {WRITE_TO_SLAB, "write to a slab", {SIMT_PENDING, SIMT_RACE, SIMT_IN_FLIGHT}},
        {TOO_MANY_REGISTERS, "too many registers", {SIMT_REGISTERS}},
        {REGISTERS_OF_A_WARP, "registers of one warp", {SIMT_REGISTERS}},
        {REGISTERS_THE_WRONG_WAY, "registers the wrong way", {SIMT_REGISTERS}},
        {NO_PROXY_FENCE, "no proxy fence", {SIMT_PROXY}},
        {NO_SYNC_BEFORE_STORE, "no __syncwarp before a store", {SIMT_RACE}},
        {NO_WAIT_FOR_READ, "staging written early", {SIMT_PENDING}},
        {NO_WAIT_AT_END, "store not waited for", {SIMT_PENDING}},
        {OVERLAPPING_STORES, "overlapping stores", {SIMT_OVERLAP}},
        {TWO_BLOCKS_ONE_TILE, "two blocks, one tile", {SIMT_OVERLAP}},
        {MISALIGNED_STAGING, "misaligned staging", {SIMT_MISALIGNED}},
        {NAMED_BARRIER_OF_TOO_MANY, "named barrier of too many", {SIMT_DEADLOCK}},
        {NAMED_BARRIER_OF_TWO_COUNTS, "named barrier of two counts", {SIMT_BARRIER}},
        {NO_NAMED_BARRIER, "no named barrier", {SIMT_RACE, SIMT_UNINITIALISED}},
        {ARRIVAL_BEFORE_WRITE, "arrival before the write", {SIMT_RACE, SIMT_UNINITIALISED}},
        {NO_WAIT_BEFORE_READ, "no wait before a read", {SIMT_RACE, SIMT_UNINITIALISED}},
        {NO_WAIT_BEFORE_WRITE, "no wait before a write", {SIMT_RACE, SIMT_MBARRIER}},
        {MAP_NOT_ENCODED, "map not encoded", {SIMT_TENSOR_MAP}},
        {WRONG_RANK, "wrong rank", {SIMT_TENSOR_MAP}},
        {BOX_PAST_SHARED_MEMORY, "box past shared memory", {SIMT_OUT_OF_BOUNDS}},
        {TENSOR_PAST_ALLOCATION, "tensor past its allocation", {SIMT_OUT_OF_BOUNDS}},
        {LOAD_UNDER_WAY_AT_END, "load under way at the end", {SIMT_PENDING}},
        {NO_PROXY_FENCE_BEFORE_WGMMA, "no proxy fence before wgmma", {SIMT_PROXY}},
        {OPERAND_WRITTEN_AFTER_FENCE, "operand after wgmma_fence", {SIMT_REGISTERS}},
    };
    for (const Check& check : CHECKS) {
        for (const char* order : ORDERS) {
            setenv("SIMT_ORDER", order, 1);
            const CUresult error = run(check.bug);
            uint64_t found = 0;
            for (const SimtFinding finding : check.findings) found += report().findings[finding];
            expect(error == CUDA_ERROR_LAUNCH_FAILED && found > 0, "%s, %s order: not found: %s", check.name, order,
                   report().message);
            if (order == ORDERS[0]) printf("%-30s %s\n", check.name, report().message);
        }
    }
    for (const char* order : ORDERS) {
        setenv("SIMT_ORDER", order, 1);
        expect(!run_ring(false, NO_SWIZZLE_OF_STAGING).right, "no swizzle of staging, %s order: right", order);
    }
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
            expect_clean(outcome.error, "the ring's product");
            expect(outcome.right, "the ring's product, %s order: wrong result", order);
        }
        for (const unsigned columns : {8, 24, 144, 256}) test_multiply(columns);
        run_weigh(NO_BUG, true);
        test_store_matrices();
        test_transfers();
        run_exchange(NO_BUG, true);
    }
    test_bugs();
    return failures > 0;
}
