// linear on tensor cores: out = epilogue(input · Wᵀ + b).
//
// input [rows, input_stride] f16, weight [outputs, weight_stride] f16, bias [outputs] f32, out [rows, out_stride] f32
// or f16; f16 products, f32 sums. Rows begin at multiples of 16 bytes; rows of weights are padded with zeros to the
// stride, the bias to a multiple of eight.
// Block: one tile of out; each warp computes a part of it in fragments of 16×8.
// Shared memory: STAGES slabs of 64 inputs of both operands, filled by cp.async while earlier ones are multiplied, and
// swizzled so that the eight rows of an 8×8 matrix lie in different banks.
// Each element is summed over the inputs first to last, whatever the tile: batch-invariant.
#include "element.cuh"
#include "epilogue.cuh"
#include "linear_params.cuh"
#include "transpose.cuh"

namespace {

constexpr int DEPTH = 64;
// f16 elements of the 16 bytes that one cp.async copies.
constexpr int CHUNK = 8;
constexpr int CHUNKS = DEPTH / CHUNK;

// The offset of a chunk of a slab's row. A row spans all banks (128 bytes), so each row permutes its chunks
// differently.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * DEPTH + (chunk ^ row % CHUNKS) * CHUNK; }

// Stores the first `count` of eight. Not inlined: it is rare, and its copies would be most of the code.
template <typename Out>
__device__ __noinline__ void store_some(Out* to, int count, bool accumulate, float4 low, float4 high) {
    const float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int n = 0; n < 8; n++) {
        if (n < count) store(to + n, accumulate ? x[n] + widen(to[n]) : x[n]);
    }
}

// QUICK_GELU is inlined; the template's GELU stands for both forms of GELU, which are not, since their code is long.
template <unsigned EPILOGUE>
__device__ __forceinline__ void activate_eight(unsigned epilogue, float (&x)[8]) {
    if (EPILOGUE == QUICK_GELU) {
#pragma unroll
        for (int n = 0; n < 8; n++) x[n] = quick_gelu(x[n]);
    }
    if (EPILOGUE == GELU) {
#pragma unroll
        for (int n = 0; n < 8; n += 4) {
            const float4 four = activate_four(epilogue, make_float4(x[n], x[n + 1], x[n + 2], x[n + 3]));
            x[n] = four.x, x[n + 1] = four.y, x[n + 2] = four.z, x[n + 3] = four.w;
        }
    }
}

// Stores a row of fragments. Of each, this lane holds two neighbours in each of two rows (PTX ISA, m16n8k16); `row` is
// the first of the two, `output` the warp's first output. Four lanes share a row: they exchange elements of four
// fragments, so that each stores eight neighbours. What ACCUMULATE adds to is loaded for all fragments before any is
// stored, to wait for memory once.
template <unsigned EPILOGUE, int FRAGMENTS, typename Out>
__device__ __forceinline__ void store_fragments(const LinearParams& params, const float* __restrict__ bias, Out* out,
                                                int row, int output, const float (&sums)[FRAGMENTS][4]) {
    static_assert(FRAGMENTS % 4 == 0, "four lanes exchange four fragments");
    constexpr int EIGHTS = FRAGMENTS / 4;
    // Whether rows begin at multiples of eight elements.
    const bool aligned = params.out_stride % 8 == 0;
    const int lane = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const bool inside = row + half * 8 < params.rows;
        Out* to = out + size_t(row + half * 8) * params.out_stride;
        float before[EIGHTS][8];
        if (EPILOGUE == ACCUMULATE) {
#pragma unroll
            for (int i = 0; i < EIGHTS; i++) {
                const int column = output + (i * 4 + lane) * 8;
                if (inside && aligned && column + 8 <= params.outputs) load(to + column, before[i]);
            }
        }
#pragma unroll
        for (int i = 0; i < EIGHTS; i++) {
            const int column = output + (i * 4 + lane) * 8;
            float x[8];
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float four[4];
#pragma unroll
                for (int n = 0; n < 4; n++) four[n] = sums[i * 4 + n][half * 2 + k];
                transpose_of_four(four);
#pragma unroll
                for (int n = 0; n < 4; n++) x[n * 2 + k] = four[n];
            }
            if (!inside || column >= params.outputs) continue;
            float biases[8];
            load(bias + column, biases);
#pragma unroll
            for (int n = 0; n < 8; n++) x[n] += biases[n];
            activate_eight<EPILOGUE>(params.epilogue, x);
            if (!aligned || column + 8 > params.outputs) {
                store_some(to + column, params.outputs - column, EPILOGUE == ACCUMULATE, make_float4(x[0], x[1], x[2], x[3]),
                           make_float4(x[4], x[5], x[6], x[7]));
                continue;
            }
            if (EPILOGUE == ACCUMULATE) {
#pragma unroll
                for (int n = 0; n < 8; n++) x[n] += before[i][n];
            }
            store(to + column, x);
        }
    }
}

template <int TILE_M, int TILE_N, int WARPS_M, int WARPS_N, int STAGES, typename Out>
__device__ __forceinline__ void linear(const LinearParams& params, const __half* input, const __half* weight,
                                       const float* bias, Out* out) {
    // Rows of a slab that all threads copy at once.
    constexpr int PASS = 32 * WARPS_M * WARPS_N / CHUNKS;
    constexpr int FRAGMENTS_M = TILE_M / WARPS_M / 16;
    constexpr int FRAGMENTS_N = TILE_N / WARPS_N / 8;
    constexpr int SLAB = (TILE_M + TILE_N) * DEPTH;
    static_assert(TILE_M % PASS == 0 && TILE_N % PASS == 0 && PASS % CHUNKS == 0, "whole passes of one swizzle");
    DYNAMIC_SHARED(__half, slabs);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int row0 = blockIdx.x * TILE_M;
    const int output0 = blockIdx.y * TILE_N;
    const int steps = (params.inputs + DEPTH - 1) / DEPTH;

    // Commits one group of copies per step, an empty one past the last, so that the wait can count groups as steps.
    // Rows past the last row or output repeat it; their results are not stored.
    auto load = [&](int step) {
        if (step < steps) {
            const int chunk = threadIdx.x % CHUNKS;
            const int first = threadIdx.x / CHUNKS;
            const int k = step * DEPTH + chunk * CHUNK;
            const int inside = min(max(params.inputs - k, 0), CHUNK) * 2;
            __half* to = slabs + step % STAGES * SLAB + swizzled(first, chunk);
#pragma unroll
            for (int row = 0; row < TILE_M; row += PASS) {
                const __half* from = input + size_t(min(row0 + first + row, params.rows - 1)) * params.input_stride;
                ptx::cp_async_16(to + row * DEPTH, from + (inside > 0 ? k : 0), inside);
            }
            to += TILE_M * DEPTH;
#pragma unroll
            for (int row = 0; row < TILE_N; row += PASS) {
                const __half* from = weight + size_t(min(output0 + first + row, params.outputs - 1)) * params.weight_stride;
                ptx::cp_async_16(to + row * DEPTH, from + k, 16);
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
        // This step's slab has arrived, and all warps have read the one before it, which the next copies overwrite.
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
            // Loads two fragments at once: 8×8 matrices in the order of (outputs, inputs) 00, 01, 10, 11.
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

    // The epilogue is chosen for a row of fragments, not for each element.
#pragma unroll
    for (int m = 0; m < FRAGMENTS_M; m++) {
        const int row = row0 + warp_row + m * 16 + lane / 4;
        const int output = output0 + warp_output;
        switch (params.epilogue) {
            case STORE: store_fragments<STORE>(params, bias, out, row, output, sums[m]); break;
            case ACCUMULATE: store_fragments<ACCUMULATE>(params, bias, out, row, output, sums[m]); break;
            case QUICK_GELU: store_fragments<QUICK_GELU>(params, bias, out, row, output, sums[m]); break;
            default: store_fragments<GELU>(params, bias, out, row, output, sums[m]);
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x128_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<128, 128, 2, 2, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x128_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<128, 128, 2, 2, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x96_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<128, 96, 4, 1, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x96_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<128, 96, 4, 1, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 3)
    linear_64x64_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<64, 64, 2, 2, 4>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 3)
    linear_64x64_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<64, 64, 2, 2, 4>(params, input, weight, bias, out);
}
