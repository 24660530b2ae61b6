// Arithmetic that C++ or its library lacks; the rest (expf, fmaf, fmaxf, …) is the host's.
#pragma once

#include <cmath>

#include "qualifiers.h"

SIMT_INLINE int min(int a, int b) { return a < b ? a : b; }
SIMT_INLINE int max(int a, int b) { return a > b ? a : b; }
SIMT_INLINE unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
SIMT_INLINE unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
SIMT_INLINE unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
SIMT_INLINE unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
SIMT_INLINE unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
SIMT_INLINE unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
SIMT_INLINE float min(float a, float b) { return fminf(a, b); }
SIMT_INLINE float max(float a, float b) { return fmaxf(a, b); }

SIMT_INLINE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
SIMT_INLINE float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
SIMT_INLINE float __fdividef(float a, float b) { return a / b; }
// The C library declares these two, without defining them.
#define __expf(x) expf(x)
#define __logf(x) logf(x)

namespace simt {

template <typename To, typename From>
SIMT_INLINE To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace simt

SIMT_INLINE unsigned __float_as_uint(float x) { return simt::bits_as<unsigned>(x); }
SIMT_INLINE int __float_as_int(float x) { return simt::bits_as<int>(x); }
SIMT_INLINE float __uint_as_float(unsigned bits) { return simt::bits_as<float>(bits); }
SIMT_INLINE float __int_as_float(int bits) { return simt::bits_as<float>(bits); }

SIMT_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
SIMT_INLINE int __clz(int x) { return x == 0 ? 32 : __builtin_clz(x); }
SIMT_INLINE int __ffs(int x) { return __builtin_ffs(x); }

// The lower word of `high` and `low`, one number, shifted right.
SIMT_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}

// Four of the eight bytes of `low` and `high`, which the digits of `selector` number.
SIMT_INLINE unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const unsigned long long bytes = static_cast<unsigned long long>(high) << 32 | low;
    unsigned chosen = 0;
    for (int i = 0; i < 4; i++) chosen |= unsigned(bytes >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
    return chosen;
}

// `sum` plus the four products of bytes.
SIMT_INLINE int __dp4a(int a, int b, int sum) {
    for (int shift = 0; shift < 32; shift += 8) {
        sum += int(static_cast<signed char>(a >> shift)) * int(static_cast<signed char>(b >> shift));
    }
    return sum;
}
SIMT_INLINE unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
    for (int shift = 0; shift < 32; shift += 8) sum += (a >> shift & 255) * (b >> shift & 255);
    return sum;
}
