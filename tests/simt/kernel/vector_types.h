// CUDA's vector types, aligned as there: pairs and quadruples to their size, triples to their element.
#pragma once

#include "qualifiers.h"

#define SIMT_VECTOR_TYPES(T, name)                                          \
    struct __align__(2 * sizeof(T)) name##2 { T x, y; };                    \
    struct name##3 { T x, y, z; };                                          \
    struct __align__(4 * sizeof(T)) name##4 { T x, y, z, w; };              \
    SIMT_INLINE name##2 make_##name##2(T x, T y) { return {x, y}; }         \
    SIMT_INLINE name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    SIMT_INLINE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SIMT_VECTOR_TYPES(signed char, char)
SIMT_VECTOR_TYPES(unsigned char, uchar)
SIMT_VECTOR_TYPES(short, short)
SIMT_VECTOR_TYPES(unsigned short, ushort)
SIMT_VECTOR_TYPES(int, int)
SIMT_VECTOR_TYPES(unsigned, uint)
SIMT_VECTOR_TYPES(float, float)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
