// layer_norm: out = (input − mean) / √(variance + eps) · γ + β, row by row, in two passes.
//
// input [rows, width] f32, gamma and beta [width], out [rows, stride] f32 or f16; f32 sums.
// Block: eight rows, one warp each.
#include "element.cuh"
#include "reduce.cuh"

namespace {

struct LayerNormParams {
    unsigned rows;
    unsigned width;
    float eps;
    unsigned out_stride;
};

// A lane loads N neighbours at once.
template <int N, typename Out>
__device__ __forceinline__ void layer_norm_of(const LayerNormParams& params, const float* __restrict__ input,
                                              const float* __restrict__ gamma, const float* __restrict__ beta,
                                              Out* __restrict__ out) {
    const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= params.rows) return;
    const unsigned first = threadIdx.x * N;
    input += size_t(row) * params.width;
    out += size_t(row) * params.out_stride;
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
    const float scale = 1 / sqrtf(sum_of_lanes(squares) / params.width + params.eps);
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

template <typename Out>
__device__ __forceinline__ void layer_norm(const LayerNormParams& params, const float* input, const float* gamma,
                                           const float* beta, Out* out) {
    // Rows then begin at multiples of four elements.
    if (params.width % 4 == 0 && params.out_stride % 4 == 0) {
        layer_norm_of<4>(params, input, gamma, beta, out);
    } else {
        layer_norm_of<1>(params, input, gamma, beta, out);
    }
}

}  // namespace

extern "C" __global__ void layer_norm_f32(LayerNormParams params, const float* input, const float* gamma,
                                          const float* beta, float* out) {
    layer_norm(params, input, gamma, beta, out);
}

extern "C" __global__ void layer_norm_f16(LayerNormParams params, const float* input, const float* gamma,
                                          const float* beta, __half* out) {
    layer_norm(params, input, gamma, beta, out);
}
