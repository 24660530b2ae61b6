// f16 and bf16: stored as bits, converted with round to nearest even.
#pragma once

#include <cstdint>

#include "qualifiers.h"
#include "vector_types.h"

namespace simt {

SIMT_RUNTIME float half_to_float(uint16_t bits) __attribute__((const));
SIMT_RUNTIME uint16_t float_to_half(float x) __attribute__((const));
SIMT_RUNTIME float bfloat16_to_float(uint16_t bits) __attribute__((const));
SIMT_RUNTIME uint16_t float_to_bfloat16(float x) __attribute__((const));

}  // namespace simt

// Without constructors, for which g++ would guard each static array, the kernels' shared memory, with a flag.
struct __half {
    uint16_t bits;

    SIMT_INLINE operator float() const { return simt::half_to_float(bits); }
    SIMT_INLINE __half& operator=(float x) {
        bits = simt::float_to_half(x);
        return *this;
    }
};

struct __align__(4) __half2 {
    __half x, y;
};

struct __nv_bfloat16 {
    uint16_t bits;

    SIMT_INLINE operator float() const { return simt::bfloat16_to_float(bits); }
    SIMT_INLINE __nv_bfloat16& operator=(float x) {
        bits = simt::float_to_bfloat16(x);
        return *this;
    }
};

struct __align__(4) __nv_bfloat162 {
    __nv_bfloat16 x, y;
};

typedef __half half;
typedef __half2 half2;

static_assert(sizeof(__half) == 2 && sizeof(__half2) == 4 && sizeof(__nv_bfloat16) == 2 && sizeof(__nv_bfloat162) == 4);

SIMT_INLINE __half __float2half(float x) { return {simt::float_to_half(x)}; }
SIMT_INLINE __half __float2half_rn(float x) { return __float2half(x); }
SIMT_INLINE float __half2float(__half x) { return x; }
SIMT_INLINE __half2 __floats2half2_rn(float x, float y) { return {__float2half(x), __float2half(y)}; }
SIMT_INLINE float2 __half22float2(__half2 pair) { return {pair.x, pair.y}; }
SIMT_INLINE float __low2float(__half2 pair) { return pair.x; }
SIMT_INLINE float __high2float(__half2 pair) { return pair.y; }
SIMT_INLINE unsigned short __half_as_ushort(__half x) { return x.bits; }
SIMT_INLINE __half __ushort_as_half(unsigned short bits) { return {bits}; }

SIMT_INLINE __nv_bfloat16 __float2bfloat16(float x) { return {simt::float_to_bfloat16(x)}; }
SIMT_INLINE __nv_bfloat16 __float2bfloat16_rn(float x) { return __float2bfloat16(x); }
SIMT_INLINE float __bfloat162float(__nv_bfloat16 x) { return x; }
SIMT_INLINE __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__float2bfloat16(x), __float2bfloat16(y)};
}
