// The functions of kernels/cuda/ptx.cuh for the executor; what they do is said there, and in the PTX ISA.
#pragma once

#include "fiber_switch.h"
#include "half.h"
#include "qualifiers.h"

namespace simt {

struct Words2 {
    unsigned x, y;
};
struct Words4 {
    unsigned x, y, z, w;
};
struct Floats4 {
    float x, y, z, w;
};

// As in warp.h: a lane comes to a collective, waits for the others, and takes its result.
SIMT_RUNTIME Switch come_to_load(const void* row, bool transposed);
SIMT_RUNTIME Words4 take_matrices();
SIMT_RUNTIME Switch come_to_product(Floats4 c, Words4 a, Words2 b);
SIMT_RUNTIME Floats4 take_product();

SIMT_RUNTIME void copy_async(void* to, const void* from, int bytes);
SIMT_RUNTIME void commit_copies();
SIMT_RUNTIME void wait_for_copies(unsigned groups_under_way);

}  // namespace simt

namespace ptx {

typedef unsigned int u32;

SIMT_INLINE void ldmatrix_x4(u32 (&r)[4], const void* row) {
    simt::go(simt::come_to_load(row, false));
    const simt::Words4 words = simt::take_matrices();
    r[0] = words.x, r[1] = words.y, r[2] = words.z, r[3] = words.w;
}

SIMT_INLINE void ldmatrix_x4_trans(u32 (&r)[4], const void* row) {
    simt::go(simt::come_to_load(row, true));
    const simt::Words4 words = simt::take_matrices();
    r[0] = words.x, r[1] = words.y, r[2] = words.z, r[3] = words.w;
}

SIMT_INLINE void mma_16x8x16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    simt::go(simt::come_to_product({c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}));
    const simt::Floats4 sums = simt::take_product();
    c[0] = sums.x, c[1] = sums.y, c[2] = sums.z, c[3] = sums.w;
}

SIMT_INLINE u32 pack(float x, float y) { return simt::float_to_half(x) | u32(simt::float_to_half(y)) << 16; }

SIMT_INLINE int dp4a(u32 bytes, u32 signed_bytes, int sum) {
    for (int shift = 0; shift < 32; shift += 8) {
        sum += int(bytes >> shift & 255) * int(static_cast<signed char>(signed_bytes >> shift));
    }
    return sum;
}

SIMT_INLINE void cp_async_16(void* to, const void* from, int bytes) { simt::copy_async(to, from, bytes); }
SIMT_INLINE void cp_async_commit() { simt::commit_copies(); }
template <int N>
SIMT_INLINE void cp_async_wait() {
    simt::wait_for_copies(N);
}

}  // namespace ptx
