// alignment_weights: out[r] = softmax over r's segment of scale · rows[r]·anchors[s], lengths[s] = |Σ out[r]·rows[r]|.
//
// rows [·, width], anchors [segments, width], offsets [segments + 1], lengths [segments], out [·]; all f32.
// Block: one segment; each warp takes one row at a time.
// Shared memory: a partial maximum or sum of each warp.
#include "reduce.cuh"

namespace {

constexpr unsigned WARPS = 8;

struct AlignmentWeightsParams {
    unsigned width;
    float scale;
    unsigned segments;
};

}  // namespace

extern "C" __global__ void __launch_bounds__(256) alignment_weights(AlignmentWeightsParams params, const float* rows, const float* anchors,
                                             const unsigned* offsets, float* lengths, float* out) {
    __shared__ float maxima[WARPS];
    __shared__ float sums[WARPS];
    const unsigned segment = blockIdx.x;
    if (segment >= params.segments) return;
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    const unsigned begin = offsets[segment];
    const unsigned end = offsets[segment + 1];
    const float* anchor = anchors + size_t(segment) * params.width;

    float maximum = -3.4e38f;
    for (unsigned row = begin + warp; row < end; row += WARPS) {
        float dot = 0;
        for (unsigned i = lane; i < params.width; i += 32) dot += rows[size_t(row) * params.width + i] * anchor[i];
        const float logit = params.scale * sum_of_lanes(dot);
        if (lane == 0) out[row] = logit;
        maximum = fmaxf(maximum, logit);
    }
    if (lane == 0) maxima[warp] = maximum;
    __syncthreads();
    for (unsigned i = 0; i < WARPS; i++) maximum = fmaxf(maximum, maxima[i]);

    // Behind the barrier a thread reads logits that other threads of its block wrote.
    float sum = 0;
    for (unsigned row = begin + threadIdx.x; row < end; row += blockDim.x) {
        const float weight = expf(out[row] - maximum);
        out[row] = weight;
        sum += weight;
    }
    sum = sum_of_lanes(sum);
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    float total = 0;
    for (unsigned i = 0; i < WARPS; i++) total += sums[i];
    for (unsigned row = begin + threadIdx.x; row < end; row += blockDim.x) out[row] /= total;

    // Each thread reads the weights of all rows and adds up whole columns.
    __syncthreads();
    float square = 0;
    for (unsigned i = threadIdx.x; i < params.width; i += blockDim.x) {
        float column = 0;
        for (unsigned row = begin; row < end; row++) column = fmaf(out[row], rows[size_t(row) * params.width + i], column);
        square = fmaf(column, column, square);
    }
    square = sum_of_lanes(square);
    if (lane == 0) maxima[warp] = square;
    __syncthreads();
    if (threadIdx.x != 0) return;
    total = 0;
    for (unsigned i = 0; i < WARPS; i++) total += maxima[i];
    lengths[segment] = sqrtf(total);
}
