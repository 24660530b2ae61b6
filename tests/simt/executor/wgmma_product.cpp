#include "wgmma_product.h"

#include <cstring>

#ifdef __F16C__
#include <immintrin.h>
#else
#include "../kernel/half.h"
#endif

namespace simt {
namespace {

// Eight f32, of which the compiler makes what vectors the processor has.
typedef float Eight __attribute__((vector_size(32)));

void widen_eight(const void* from, float* to) {
#ifdef __F16C__
    _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from))));
#else
    uint16_t bits[8];
    memcpy(bits, from, sizeof bits);
    for (int i = 0; i < 8; i++) to[i] = half_to_float(bits[i]);
#endif
}

// 16 bytes of a slab.
const void* piece(uintptr_t address) { return reinterpret_cast<const void*>(swizzled(address)); }

}  // namespace

void widen_a(uintptr_t slab, WideOperands& wide) {
    for (unsigned row = 0; row < WGMMA_ROWS; row++) {
        widen_eight(piece(slab + row * SLAB_ROW), wide.a[row]);
        widen_eight(piece(slab + row * SLAB_ROW + 16), wide.a[row] + 8);
    }
}

void widen_b(uintptr_t slab, unsigned columns, WideOperands& wide) {
    for (unsigned column = 0; column < columns; column++) {
        float values[WGMMA_DEPTH];
        widen_eight(piece(slab + column * SLAB_ROW), values);
        widen_eight(piece(slab + column * SLAB_ROW + 16), values + 8);
        for (unsigned k = 0; k < WGMMA_DEPTH; k++) wide.b[k][column] = values[k];
    }
}

void widen_b_rows(uintptr_t slab, unsigned columns, WideOperands& wide) {
    for (unsigned k = 0; k < WGMMA_DEPTH; k++) {
        for (unsigned column = 0; column < columns; column += 8) {
            widen_eight(piece(slab + k * SLAB_ROW + column * 2), wide.b[k] + column);
        }
    }
}

void widen_registers(const unsigned (&words)[WARPGROUP_SIZE][4], WideOperands& wide) {
    for (unsigned thread = 0; thread < WARPGROUP_SIZE; thread++) {
        float values[8];
        widen_eight(words[thread], values);
        const unsigned row = thread / WARP_SIZE * 16 + thread % WARP_SIZE / 4;
        const unsigned k = thread % 4 * 2;
        for (unsigned i = 0; i < 8; i++) wide.a[row + i / 2 % 2 * 8][k + i / 4 * 8 + i % 2] = values[i];
    }
}

void gather_sums(float* const (&of_threads)[WARPGROUP_SIZE], unsigned columns, WideOperands& wide) {
    for (unsigned thread = 0; thread < WARPGROUP_SIZE; thread++) {
        const unsigned row = thread / WARP_SIZE * 16 + thread % WARP_SIZE / 4;
        const float* from = of_threads[thread];
        for (unsigned column = thread % 4 * 2; column < columns; column += 8, from += 4) {
            memcpy(&wide.sums[row][column], from, 8);
            memcpy(&wide.sums[row + 8][column], from + 2, 8);
        }
    }
}

void scatter_sums(const WideOperands& wide, unsigned columns, float* const (&of_threads)[WARPGROUP_SIZE]) {
    for (unsigned thread = 0; thread < WARPGROUP_SIZE; thread++) {
        const unsigned row = thread / WARP_SIZE * 16 + thread % WARP_SIZE / 4;
        float* to = of_threads[thread];
        for (unsigned column = thread % 4 * 2; column < columns; column += 8, to += 4) {
            memcpy(to, &wide.sums[row][column], 8);
            memcpy(to + 2, &wide.sums[row + 8][column], 8);
        }
    }
}

// Eight rows at once hide the latency of the sums. Products of f16 are exact in f32, so that a fused multiply-add
// rounds as the two apart do.
void multiply(WideOperands& wide, unsigned columns) {
    for (unsigned row = 0; row < WGMMA_ROWS; row += 8) {
        for (unsigned column = 0; column < columns; column += 8) {
            Eight sums[8];
            for (int i = 0; i < 8; i++) memcpy(&sums[i], &wide.sums[row + i][column], sizeof(Eight));
            for (unsigned k = 0; k < WGMMA_DEPTH; k++) {
                Eight b;
                memcpy(&b, &wide.b[k][column], sizeof b);
                for (int i = 0; i < 8; i++) sums[i] += b * wide.a[row + i][k];
            }
            for (int i = 0; i < 8; i++) memcpy(&wide.sums[row + i][column], &sums[i], sizeof(Eight));
        }
    }
}

}  // namespace simt
