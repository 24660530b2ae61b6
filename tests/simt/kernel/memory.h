// Loads and atomics.
#pragma once

#include "qualifiers.h"

namespace simt {

SIMT_RUNTIME float atomic_add(float* at, float x);
SIMT_RUNTIME unsigned atomic_add(unsigned* at, unsigned x);

}  // namespace simt

template <typename T>
SIMT_INLINE T __ldg(const T* from) {
    return *from;
}

SIMT_INLINE float atomicAdd(float* at, float x) { return simt::atomic_add(at, x); }
SIMT_INLINE unsigned atomicAdd(unsigned* at, unsigned x) { return simt::atomic_add(at, x); }
SIMT_INLINE int atomicAdd(int* at, int x) {
    return simt::atomic_add(reinterpret_cast<unsigned*>(at), static_cast<unsigned>(x));
}
