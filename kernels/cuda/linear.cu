// linear on tensor cores: out = epilogue(input · Wᵀ + b).
//
// input [rows, input_stride] f16, weight [outputs, weight_stride] f16, bias [outputs] f32, out [rows, out_stride] f32
// or f16; f16 products, f32 sums. Rows begin at multiples of 16 bytes; the weights' are zero past the inputs.
// Block: one tile of out, a warp a part of it in fragments of 16×8.
// Shared memory: STAGES slabs of 64 inputs of both operands, filled by cp.async while earlier ones are multiplied, and
// swizzled so that the eight rows of an 8×8 matrix lie in different banks.
// Each element is summed over the inputs first to last, whatever the tile: the same bits in any company.
#include "element.cuh"
#include "epilogue.cuh"

namespace {

constexpr int DEPTH = 64;
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

// Where a chunk of a slab's row lies. A row is the 128 bytes of all banks: neighbouring rows get other chunks.
__device__ __forceinline__ int swizzled(int row, int chunk) { return row * DEPTH + (chunk ^ row % CHUNKS) * CHUNK; }

// Stores a row of fragments: this lane has two neighbours of two rows of each (PTX ISA, m16n8k16), the first at `row`
// and `output`. The bias and what is added to are loaded before anything is stored, to wait for them once; of what is
// past the last output, the last one's bias, and nothing is stored.
template <unsigned EPILOGUE, int FRAGMENTS, typename Out>
__device__ __forceinline__ void store_fragments(const LinearParams& params, const float* __restrict__ bias, Out* out,
                                                int row, int output, const float (&sums)[FRAGMENTS][4]) {
    float2 biases[FRAGMENTS];
#pragma unroll
    for (int n = 0; n < FRAGMENTS; n++) {
        const int at = output + n * 8;
        biases[n] = make_float2(bias[min(at, params.outputs - 1)], bias[min(at + 1, params.outputs - 1)]);
    }
    const int columns = params.outputs - output;
    const bool pairs = params.out_stride % 2 == 0 && columns > (FRAGMENTS - 1) * 8 + 1;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (row + half * 8 >= params.rows) continue;
        Out* first = out + size_t(row + half * 8) * params.out_stride + output;
        if (pairs) {
            float2 before[FRAGMENTS];
            if (EPILOGUE == ACCUMULATE) {
#pragma unroll
                for (int n = 0; n < FRAGMENTS; n++) before[n] = load_pair(first + n * 8);
            }
#pragma unroll
            for (int n = 0; n < FRAGMENTS; n++) {
                float x = activate(EPILOGUE, sums[n][half * 2] + biases[n].x);
                float y = activate(EPILOGUE, sums[n][half * 2 + 1] + biases[n].y);
                if (EPILOGUE == ACCUMULATE) {
                    x += before[n].x;
                    y += before[n].y;
                }
                store_pair(first + n * 8, x, y);
            }
        } else {
#pragma unroll
            for (int i = 0; i < FRAGMENTS * 2; i++) {
                const int column = i / 2 * 8 + i % 2;
                if (column >= columns) break;
                const float bias_here = i % 2 == 0 ? biases[i / 2].x : biases[i / 2].y;
                float x = activate(EPILOGUE, sums[i / 2][half * 2 + i % 2] + bias_here);
                if (EPILOGUE == ACCUMULATE) x += widen(first[column]);
                store(first + column, x);
            }
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

    // One group of copies a step, an empty one past the last: the count of groups stays the count of steps. What lies
    // past the last row or output repeats it, and is not stored.
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

    // The epilogue is chosen for a row of fragments, not for each element.
#pragma unroll
    for (int m = 0; m < FRAGMENTS_M; m++) {
        const int row = row0 + warp_row + m * 16 + lane / 4;
        const int output = output0 + warp_output + lane % 4 * 2;
        switch (params.epilogue) {
            case ACCUMULATE: store_fragments<ACCUMULATE>(params, bias, out, row, output, sums[m]); break;
            case QUICK_GELU: store_fragments<QUICK_GELU>(params, bias, out, row, output, sums[m]); break;
            case GELU: store_fragments<GELU>(params, bias, out, row, output, sums[m]); break;
            case GELU_TANH: store_fragments<GELU_TANH>(params, bias, out, row, output, sums[m]); break;
            default: store_fragments<STORE>(params, bias, out, row, output, sums[m]);
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x96_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<128, 96, 2, 2, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 2)
    linear_128x96_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<128, 96, 2, 2, 3>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 3)
    linear_64x64_f32(LinearParams params, const __half* input, const __half* weight, const float* bias, float* out) {
    linear<64, 64, 2, 2, 4>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(128, 3)
    linear_64x64_f16(LinearParams params, const __half* input, const __half* weight, const float* bias, __half* out) {
    linear<64, 64, 2, 2, 4>(params, input, weight, bias, out);
}
