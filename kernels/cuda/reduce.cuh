// Sums and maxima over the 32 lanes of a warp, always in the same tree; every lane has the result.
#pragma once
#include "ptx.cuh"

__device__ __forceinline__ float sum_of_lanes(float x) {
    for (int stride = 16; stride > 0; stride /= 2) x += __shfl_xor_sync(0xffffffffu, x, stride);
    return x;
}

__device__ __forceinline__ float max_of_lanes(float x) {
    for (int stride = 16; stride > 0; stride /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, stride));
    return x;
}
