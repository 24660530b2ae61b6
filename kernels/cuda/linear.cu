// linear on tensor cores: out = epilogue(input · Wᵀ + b).
//
// input [rows, input_stride] f16, weight [outputs, weight_stride] f16, bias [outputs] f32, out [rows, out_stride] f32
// or f16; f16 products, f32 sums. Rows begin at multiples of 16 bytes; the weights' are zero past the inputs.
// Block: one tile of out, a warp a part of it in fragments of 16×8.
// Shared memory: STAGES slabs of 32 inputs of both operands, filled by cp.async while earlier ones are multiplied, and
// swizzled so that the eight rows of an 8×8 matrix lie in different banks.
// Each element is summed over the inputs first to last, whatever the tile: the same bits in any company.
#include "element.cuh"
#include "epilogue.cuh"

namespace {

constexpr int DEPTH = 32;
constexpr int STAGES = 3;
// Halves of 16 bytes.
constexpr int CHUNK = 8;
constexpr int CHUNKS = DEPTH / CHUNK;

struct LinearParams {
    int rows;
    int outputs;
    int inputs;
    int input_stride;
    int weight_stride;
    int out_stride;
    unsigned epilogue;
};

// Where a chunk of a slab's row lies. A row is half of the 128 bytes of all banks: rows two apart get other chunks.
__device__ __forceinline__ int swizzled(int row, int chunk) {
    return row * DEPTH + (chunk ^ (row / 2 % CHUNKS)) * CHUNK;
}

template <int TILE_M, int TILE_N, int WARPS_M, int WARPS_N, typename Out>
__device__ __forceinline__ void linear(const LinearParams& params, const __half* input, const __half* weight,
                                       const float* bias, Out* out) {
    constexpr int THREADS = 32 * WARPS_M * WARPS_N;
    constexpr int FRAGMENTS_M = TILE_M / WARPS_M / 16;
    constexpr int FRAGMENTS_N = TILE_N / WARPS_N / 8;
    constexpr int SLAB = (TILE_M + TILE_N) * DEPTH;
    DYNAMIC_SHARED(__half, slabs);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int row0 = blockIdx.x * TILE_M;
    const int output0 = blockIdx.y * TILE_N;
    const int steps = (params.inputs + DEPTH - 1) / DEPTH;

    // One group of copies a step, an empty one past the last: the count of groups stays the count of steps.
    auto load = [&](int step) {
        if (step < steps) {
            __half* a = slabs + step % STAGES * SLAB;
            __half* b = a + TILE_M * DEPTH;
            for (int i = threadIdx.x; i < TILE_M * CHUNKS; i += THREADS) {
                const int row = i / CHUNKS;
                const int k = step * DEPTH + i % CHUNKS * CHUNK;
                const int inside = row0 + row < params.rows ? min(max(params.inputs - k, 0), CHUNK) * 2 : 0;
                const __half* from = input + (inside > 0 ? size_t(row0 + row) * params.input_stride + k : 0);
                ptx::cp_async_16(a + swizzled(row, i % CHUNKS), from, inside);
            }
            for (int i = threadIdx.x; i < TILE_N * CHUNKS; i += THREADS) {
                const int row = i / CHUNKS;
                const int k = step * DEPTH + i % CHUNKS * CHUNK;
                const bool inside = output0 + row < params.outputs;
                const __half* from = weight + (inside ? size_t(output0 + row) * params.weight_stride + k : 0);
                ptx::cp_async_16(b + swizzled(row, i % CHUNKS), from, inside ? 16 : 0);
            }
        }
        ptx::cp_async_commit();
    };

    const int warp_row = warp / WARPS_N * (TILE_M / WARPS_M);
    const int warp_output = warp % WARPS_N * (TILE_N / WARPS_N);
    float sums[FRAGMENTS_M][FRAGMENTS_N][4] = {};
    for (int step = 0; step < STAGES - 1; step++) load(step);
    for (int step = 0; step < steps; step++) {
        ptx::cp_async_wait<STAGES - 2>();
        // The slab of this step has arrived, and the one before it has been read by all.
        __syncthreads();
        load(step + STAGES - 1);
        const __half* a = slabs + step % STAGES * SLAB;
        const __half* b = a + TILE_M * DEPTH;
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++) {
            ptx::u32 a_fragments[FRAGMENTS_M][4];
            ptx::u32 b_fragments[FRAGMENTS_N][2];
#pragma unroll
            for (int m = 0; m < FRAGMENTS_M; m++) {
                const int row = warp_row + m * 16 + lane % 16;
                ptx::ldmatrix_x4(a_fragments[m], a + swizzled(row, k * 2 + lane / 16));
            }
            // Two fragments at once: 8×8 matrices in the order of (outputs, inputs) 00, 01, 10, 11.
#pragma unroll
            for (int n = 0; n < FRAGMENTS_N; n += 2) {
                const int row = warp_output + n * 8 + lane / 16 * 8 + lane % 8;
                ptx::u32 both[4];
                ptx::ldmatrix_x4(both, b + swizzled(row, k * 2 + lane / 8 % 2));
                b_fragments[n][0] = both[0];
                b_fragments[n][1] = both[1];
                b_fragments[n + 1][0] = both[2];
                b_fragments[n + 1][1] = both[3];
            }
#pragma unroll
            for (int m = 0; m < FRAGMENTS_M; m++) {
#pragma unroll
                for (int n = 0; n < FRAGMENTS_N; n++) ptx::mma_16x8x16(sums[m][n], a_fragments[m], b_fragments[n]);
            }
        }
    }

    // A lane holds two neighbours of two rows of each fragment (PTX ISA, m16n8k16).
#pragma unroll
    for (int n = 0; n < FRAGMENTS_N; n++) {
        const int output = output0 + warp_output + n * 8 + lane % 4 * 2;
        if (output >= params.outputs) continue;
        const float bias0 = bias[output];
        const float bias1 = output + 1 < params.outputs ? bias[output + 1] : 0;
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; m++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int row = row0 + warp_row + m * 16 + half * 8 + lane / 4;
                if (row >= params.rows) continue;
                Out* at = out + size_t(row) * params.out_stride + output;
                float x = activate(params.epilogue, sums[m][n][half * 2] + bias0);
                float y = activate(params.epilogue, sums[m][n][half * 2 + 1] + bias1);
                const bool pair = output + 1 < params.outputs;
                if (params.epilogue == ACCUMULATE) {
                    x += widen(at[0]);
                    if (pair) y += widen(at[1]);
                }
                if (pair && params.out_stride % 2 == 0) {
                    store_pair(at, x, y);
                } else {
                    store(at, x);
                    if (pair) store(at + 1, y);
                }
            }
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256)
    linear_128x128_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<128, 128, 2, 4>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(256)
    linear_128x128_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<128, 128, 2, 4>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128)
    linear_64x64_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<64, 64, 2, 2>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128)
    linear_64x64_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<64, 64, 2, 2>(params, input, weight, bias, out);
}
