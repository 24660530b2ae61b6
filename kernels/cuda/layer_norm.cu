// layer_norm: out = (input − mean) / √(variance + eps) · γ + β, row by row, in two passes.
//
// input [rows, width] f32, gamma and beta [width], out [rows, stride] f32 or f16; f32 sums.
// Block: eight rows, a warp each.
#include "element.cuh"
#include "reduce.cuh"

namespace {

struct LayerNormParams {
    unsigned rows;
    unsigned width;
    float eps;
    unsigned out_stride;
};

template <typename Out>
__device__ __forceinline__ void layer_norm(const LayerNormParams& params, const float* input, const float* gamma,
                                           const float* beta, Out* out) {
    const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= params.rows) return;
    const unsigned lane = threadIdx.x;
    input += size_t(row) * params.width;
    out += size_t(row) * params.out_stride;
    float sum = 0;
    for (unsigned i = lane; i < params.width; i += 32) sum += input[i];
    const float mean = sum_of_lanes(sum) / params.width;
    float squares = 0;
    for (unsigned i = lane; i < params.width; i += 32) {
        const float x = input[i] - mean;
        squares += x * x;
    }
    const float scale = 1 / sqrtf(sum_of_lanes(squares) / params.width + params.eps);
    for (unsigned i = lane; i < params.width; i += 32) {
        store(out + i, (input[i] - mean) * scale * gamma[i] + beta[i]);
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
