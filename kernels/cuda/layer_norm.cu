// layer_norm: out = (input − mean) / √(variance + eps) · γ + β, row by row, in two passes.
//
// input [rows, input_stride] and out [rows, out_stride] f32 or f16, gamma and beta [width]; f32 sums.
// Block: eight rows, one warp each. A lane has eight neighbours of every 256; rows of up to 1,280 (the widest of
// ViT-H/14) stay in registers between the passes, so that they come from memory once.
#include "element.cuh"
#include "reduce.cuh"

namespace {

struct LayerNormParams {
    unsigned rows;
    unsigned width;
    float eps;
    unsigned input_stride;
    unsigned out_stride;
};

__device__ __forceinline__ float scale_of(const LayerNormParams& params, float squares) {
    return 1 / sqrtf(sum_of_lanes(squares) / params.width + params.eps);
}

// A row of up to EIGHTS · 256 elements.
template <int EIGHTS, typename In, typename Out>
__device__ __forceinline__ void layer_norm_in_registers(const LayerNormParams& params, const In* __restrict__ input,
                                                        const float* __restrict__ gamma, const float* __restrict__ beta,
                                                        Out* __restrict__ out) {
    const unsigned first = threadIdx.x * 8;
    float x[EIGHTS][8] = {};
#pragma unroll
    for (int i = 0; i < EIGHTS; i++) {
        if (first + i * 256 < params.width) load(input + first + i * 256, x[i]);
    }
    float sum = 0;
#pragma unroll
    for (int i = 0; i < EIGHTS; i++) {
#pragma unroll
        for (int n = 0; n < 8; n++) sum += x[i][n];
    }
    const float mean = sum_of_lanes(sum) / params.width;
    float squares = 0;
#pragma unroll
    for (int i = 0; i < EIGHTS; i++) {
        if (first + i * 256 >= params.width) continue;
#pragma unroll
        for (int n = 0; n < 8; n++) x[i][n] -= mean, squares += x[i][n] * x[i][n];
    }
    const float scale = scale_of(params, squares);
#pragma unroll
    for (int i = 0; i < EIGHTS; i++) {
        const unsigned column = first + i * 256;
        if (column >= params.width) continue;
        float scales[8], shifts[8];
        load(gamma + column, scales);
        load(beta + column, shifts);
#pragma unroll
        for (int n = 0; n < 8; n++) x[i][n] = x[i][n] * scale * scales[n] + shifts[n];
        store(out + column, x[i]);
    }
}

// A row of any length, read once a pass; a lane loads N neighbours at once.
template <int N, typename In, typename Out>
__device__ __forceinline__ void layer_norm_from_memory(const LayerNormParams& params, const In* __restrict__ input,
                                                       const float* __restrict__ gamma, const float* __restrict__ beta,
                                                       Out* __restrict__ out) {
    const unsigned first = threadIdx.x * N;
    float sum = 0;
    for (unsigned i = first; i < params.width; i += 32 * N) {
        float x[N];
        load(input + i, x);
#pragma unroll
        for (int n = 0; n < N; n++) sum += x[n];
    }
    const float mean = sum_of_lanes(sum) / params.width;
    float squares = 0;
    for (unsigned i = first; i < params.width; i += 32 * N) {
        float x[N];
        load(input + i, x);
#pragma unroll
        for (int n = 0; n < N; n++) squares += (x[n] - mean) * (x[n] - mean);
    }
    const float scale = scale_of(params, squares);
    for (unsigned i = first; i < params.width; i += 32 * N) {
        float x[N], scales[N], shifts[N];
        load(input + i, x);
        load(gamma + i, scales);
        load(beta + i, shifts);
#pragma unroll
        for (int n = 0; n < N; n++) x[n] = (x[n] - mean) * scale * scales[n] + shifts[n];
        store(out + i, x);
    }
}

template <typename In, typename Out>
__device__ __forceinline__ void layer_norm(const LayerNormParams& params, const In* input, const float* gamma,
                                           const float* beta, Out* out) {
    const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= params.rows) return;
    input += size_t(row) * params.input_stride;
    out += size_t(row) * params.out_stride;
    // Rows then begin at multiples of eight elements.
    const bool aligned = params.width % 8 == 0 && params.input_stride % 8 == 0 && params.out_stride % 8 == 0;
    if (!aligned) {
        layer_norm_from_memory<1>(params, input, gamma, beta, out);
    } else if (params.width <= 3 * 256) {
        layer_norm_in_registers<3>(params, input, gamma, beta, out);
    } else if (params.width <= 5 * 256) {
        layer_norm_in_registers<5>(params, input, gamma, beta, out);
    } else {
        layer_norm_from_memory<8>(params, input, gamma, beta, out);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 3) layer_norm_f32_f32(LayerNormParams params, const float* input,
                                                                        const float* gamma, const float* beta, float* out) {
    layer_norm(params, input, gamma, beta, out);
}

extern "C" __global__ void __launch_bounds__(256, 3) layer_norm_f32_f16(LayerNormParams params, const float* input,
                                                                        const float* gamma, const float* beta, __half* out) {
    layer_norm(params, input, gamma, beta, out);
}

extern "C" __global__ void __launch_bounds__(256, 3) layer_norm_f16_f32(LayerNormParams params, const __half* input,
                                                                        const float* gamma, const float* beta, float* out) {
    layer_norm(params, input, gamma, beta, out);
}

extern "C" __global__ void __launch_bounds__(256, 3) layer_norm_f16_f16(LayerNormParams params, const __half* input,
                                                                        const float* gamma, const float* beta, __half* out) {
    layer_norm(params, input, gamma, beta, out);
}
