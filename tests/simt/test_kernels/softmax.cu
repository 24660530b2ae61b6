// softmax of each row: input and out [rows, width] f32.
//
// Block: a row. Shared memory: a partial maximum or sum of each warp.
#include "../../../kernels/cuda/ptx.cuh"
#include "plants.cuh"

extern "C" __global__ void softmax(const float* input, float* out, int width) {
    DYNAMIC_SHARED(float, partial);
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int warps = blockDim.x / 32;
    input += size_t(blockIdx.x) * width;
    out += size_t(blockIdx.x) * width;

    float maximum = -INFINITY;
    for (int i = threadIdx.x; i < width; i += blockDim.x) maximum = fmaxf(maximum, input[i]);
    for (int lanes = 16; lanes > 0; lanes /= 2) maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, lanes));
    if (lane == 0 && !(PLANT == UNINITIALISED_READ && warp == warps - 1)) partial[warp] = maximum;
    if (PLANT != NO_BARRIER_BEFORE_SUM) __syncthreads();
    for (int i = 0; i < warps; i++) maximum = fmaxf(maximum, partial[i]);
    if (PLANT != NO_BARRIER_AFTER_SUM) __syncthreads();

    float sum = 0;
    for (int i = threadIdx.x; i < width; i += blockDim.x) sum += __expf(input[i] - maximum);
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
    if (lane == 0) partial[warp] = sum;
    __syncthreads();
    if (PLANT == DIVERGENT_BARRIER && threadIdx.x < 64) __syncthreads();
    sum = 0;
    for (int i = 0; i < warps; i++) sum += partial[i];
    const int end = PLANT == ONE_PAST_THE_END && blockIdx.x == gridDim.x - 1 ? width + 1 : width;
    for (int i = threadIdx.x; i < end; i += blockDim.x) out[i] = __expf(input[min(i, width - 1)] - maximum) / sum;
}
