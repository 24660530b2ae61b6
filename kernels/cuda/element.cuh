// Elements of a tensor: f32, or f16 with f32 arithmetic.
#pragma once
#include "ptx.cuh"

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

__device__ __forceinline__ void store(float* at, float x) { *at = x; }
__device__ __forceinline__ void store(__half* at, float x) { *at = __float2half_rn(x); }

// Stores two neighbours; `at` is an even element of its row, and rows begin at even elements.
__device__ __forceinline__ void store_pair(float* at, float x, float y) { *reinterpret_cast<float2*>(at) = make_float2(x, y); }
__device__ __forceinline__ void store_pair(__half* at, float x, float y) {
    *reinterpret_cast<__half2*>(at) = __floats2half2_rn(x, y);
}

// Loads and stores of one, four or eight neighbours; for more than one, `at` is aligned to 16 bytes, or to 8 for four
// f16.
__device__ __forceinline__ void load(const float* at, float (&x)[1]) { x[0] = *at; }
__device__ __forceinline__ void load(const __half* at, float (&x)[1]) { x[0] = widen(*at); }
__device__ __forceinline__ void load(const float* at, float (&x)[4]) {
    const float4 four = *reinterpret_cast<const float4*>(at);
    x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
}
__device__ __forceinline__ void load(const __half* at, float (&x)[4]) {
    const uint2 four = *reinterpret_cast<const uint2*>(at);
    const float2 low = __half22float2(*reinterpret_cast<const __half2*>(&four.x));
    const float2 high = __half22float2(*reinterpret_cast<const __half2*>(&four.y));
    x[0] = low.x, x[1] = low.y, x[2] = high.x, x[3] = high.y;
}
__device__ __forceinline__ void load(const __nv_bfloat16* at, float (&x)[4]) {
    const uint2 four = *reinterpret_cast<const uint2*>(at);
    // A bf16 is the upper half of the f32.
    x[0] = __uint_as_float(four.x << 16), x[1] = __uint_as_float(four.x & 0xffff0000u);
    x[2] = __uint_as_float(four.y << 16), x[3] = __uint_as_float(four.y & 0xffff0000u);
}
__device__ __forceinline__ void load(const float* at, float (&x)[8]) {
    const float4 low = reinterpret_cast<const float4*>(at)[0];
    const float4 high = reinterpret_cast<const float4*>(at)[1];
    x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
    x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}
__device__ __forceinline__ void load(const __half* at, float (&x)[8]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const float2 pair = __half22float2(reinterpret_cast<const __half2*>(at)[i]);
        x[2 * i] = pair.x;
        x[2 * i + 1] = pair.y;
    }
}
__device__ __forceinline__ void store(float* at, const float (&x)[1]) { store(at, x[0]); }
__device__ __forceinline__ void store(__half* at, const float (&x)[1]) { store(at, x[0]); }
__device__ __forceinline__ void store(float* at, const float (&x)[4]) {
    *reinterpret_cast<float4*>(at) = make_float4(x[0], x[1], x[2], x[3]);
}
__device__ __forceinline__ void store(__half* at, const float (&x)[4]) {
    *reinterpret_cast<uint2*>(at) = make_uint2(ptx::pack(x[0], x[1]), ptx::pack(x[2], x[3]));
}
__device__ __forceinline__ void store(float* at, const float (&x)[8]) {
    reinterpret_cast<float4*>(at)[0] = make_float4(x[0], x[1], x[2], x[3]);
    reinterpret_cast<float4*>(at)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
__device__ __forceinline__ void store(__half* at, const float (&x)[8]) {
    *reinterpret_cast<uint4*>(at) =
        make_uint4(ptx::pack(x[0], x[1]), ptx::pack(x[2], x[3]), ptx::pack(x[4], x[5]), ptx::pack(x[6], x[7]));
}
