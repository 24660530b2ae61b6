// linear in f32: out = epilogue(input · Wᵀ + b).
//
// input [rows, inputs] f32, weight [outputs, weight_stride] f32, f16 or bf16, bias [outputs], out [rows, outputs] f32;
// f32 products and sums.
// Block: one 64×64 tile of out; 16×16 threads of 4×4 elements.
// Shared memory: a slab of 16 inputs of both operands, 8 KiB.
// Each element is summed over the inputs first to last: batch-invariant.
#include "element.cuh"
#include "epilogue.cuh"

namespace {

constexpr int TILE = 64;
constexpr int DEPTH = 16;
constexpr int SIDE = 4;

struct LinearParams {
    int rows;
    int outputs;
    int inputs;
    int input_stride;
    int weight_stride;
    int out_stride;
    unsigned epilogue;
};

template <typename Weight>
__device__ __forceinline__ void linear(const LinearParams& params, const float* input, const Weight* weight,
                                       const float* bias, float* out) {
    // Slabs: [DEPTH, TILE].
    __shared__ __align__(16) float a_slab[DEPTH * TILE];
    __shared__ __align__(16) float b_slab[DEPTH * TILE];
    const int row0 = blockIdx.x * TILE;
    const int output0 = blockIdx.y * TILE;
    const int thread = threadIdx.y * 16 + threadIdx.x;
    // Each thread loads four inputs of one row of either operand.
    const int load_row = thread / 4;
    const int load_depth = thread % 4 * 4;
    const int a_row = row0 + load_row;
    const int b_row = output0 + load_row;
    float sums[SIDE][SIDE] = {};
    for (int k0 = 0; k0 < params.inputs; k0 += DEPTH) {
        for (int i = 0; i < 4; i++) {
            const int k = k0 + load_depth + i;
            const int at = (load_depth + i) * TILE + load_row;
            const bool inside = k < params.inputs;
            a_slab[at] = inside && a_row < params.rows ? input[size_t(a_row) * params.input_stride + k] : 0;
            b_slab[at] = inside && b_row < params.outputs ? widen(weight[size_t(b_row) * params.weight_stride + k]) : 0;
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; k++) {
            const float4 a = *reinterpret_cast<const float4*>(a_slab + k * TILE + threadIdx.y * SIDE);
            const float4 b = *reinterpret_cast<const float4*>(b_slab + k * TILE + threadIdx.x * SIDE);
            const float down[SIDE] = {a.x, a.y, a.z, a.w};
            const float across[SIDE] = {b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < SIDE; i++) {
#pragma unroll
                for (int j = 0; j < SIDE; j++) sums[i][j] = fmaf(down[i], across[j], sums[i][j]);
            }
        }
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < SIDE; i++) {
        const int row = row0 + threadIdx.y * SIDE + i;
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            const int output = output0 + threadIdx.x * SIDE + j;
            if (row >= params.rows || output >= params.outputs) continue;
            float* at = out + size_t(row) * params.out_stride + output;
            const float x = activate(params.epilogue, sums[i][j] + bias[output]);
            *at = params.epilogue == ACCUMULATE ? *at + x : x;
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256)
    linear_f32_f32(LinearParams params, const float* input, const float* weight, const float* bias, float* out) {
    linear(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(256)
    linear_f32_f16(LinearParams params, const float* input, const __half* weight, const float* bias, float* out) {
    linear(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(256)
    linear_f32_bf16(LinearParams params, const float* input, const __nv_bfloat16* weight, const float* bias, float* out) {
    linear(params, input, weight, bias, out);
}
