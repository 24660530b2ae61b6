// Transposes among the lanes of a warp.
#pragma once
#include "ptx.cuh"

// Transposes a 4×4 matrix: four neighbouring lanes hold a row each before, a column each after.
__device__ __forceinline__ void transpose_of_four(float (&x)[4]) {
    const bool odd = threadIdx.x & 1;
    const bool upper = threadIdx.x & 2;
    // Transposes within 2×2 blocks, then swaps blocks.
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const float other = __shfl_xor_sync(0xffffffffu, odd ? x[i] : x[i + 1], 1);
        if (odd) x[i] = other;
        else x[i + 1] = other;
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float other = __shfl_xor_sync(0xffffffffu, upper ? x[i] : x[i + 2], 2);
        if (upper) x[i] = other;
        else x[i + 2] = other;
    }
}
