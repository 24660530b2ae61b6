// l2_normalize: each row divided by its Euclidean length, or by 1e-12 where that is longer.
//
// tensor [rows, width] f32, in place; f32 sums.
// Block: eight rows, one warp each.
#include "reduce.cuh"

namespace {

struct L2NormalizeParams {
    unsigned rows;
    unsigned width;
};

}  // namespace

extern "C" __global__ void l2_normalize(L2NormalizeParams params, float* tensor) {
    const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= params.rows) return;
    const unsigned lane = threadIdx.x;
    tensor += size_t(row) * params.width;
    float squares = 0;
    for (unsigned i = lane; i < params.width; i += 32) squares += tensor[i] * tensor[i];
    const float length = fmaxf(sqrtf(sum_of_lanes(squares)), 1e-12f);
    for (unsigned i = lane; i < params.width; i += 32) tensor[i] /= length;
}
