// The epilogues of linear and their activations; the kernels store the results.
#pragma once
#include "ptx.cuh"

constexpr unsigned STORE = 0;
constexpr unsigned ACCUMULATE = 1;
constexpr unsigned QUICK_GELU = 2;
constexpr unsigned GELU = 3;
constexpr unsigned GELU_TANH = 4;

// x · σ(1.702 x); the division is within 2 units in the last place (CUDA C++ Programming Guide).
__device__ __forceinline__ float quick_gelu(float x) { return __fdividef(x, 1 + expf(-1.702f * x)); }

// x · Φ(x); erfc does not cancel for x < 0. Not inlined: a copy for each fragment would be most of the code.
__device__ __noinline__ float gelu(float x) { return 0.5f * x * erfcf(-x * 0.70710678f); }

// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))). Not inlined, either.
__device__ __noinline__ float gelu_tanh(float x) {
    return 0.5f * x * (1 + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

// Activates a product with its bias; for ACCUMULATE, the caller adds the old value as it stores.
__device__ __forceinline__ float activate(unsigned epilogue, float x) {
    switch (epilogue) {
        case QUICK_GELU: return quick_gelu(x);
        case GELU: return gelu(x);
        case GELU_TANH: return gelu_tanh(x);
        default: return x;
    }
}

// Activates four elements in one call.
__device__ __noinline__ float4 activate_four(unsigned epilogue, float4 x) {
    return make_float4(activate(epilogue, x.x), activate(epilogue, x.y), activate(epilogue, x.z), activate(epilogue, x.w));
}
