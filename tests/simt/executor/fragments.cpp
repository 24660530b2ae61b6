#include "fragments.h"

#if defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)
#include <immintrin.h>
#else
#include <cmath>

#include "../kernel/half.h"
#endif

namespace simt {

#if defined(__AVX2__) && defined(__F16C__) && defined(__FMA__)
namespace {

__m128i words(const Words4& lane) { return _mm_load_si128(reinterpret_cast<const __m128i*>(&lane)); }

// Rows g and g + 8 of a, from the four lanes of the group.
void widen_rows(const Words4 (&a)[WARP_SIZE], float (&wide)[16][16]) {
    for (int g = 0; g < 8; g++) {
        const __m128i low01 = _mm_unpacklo_epi32(words(a[g * 4]), words(a[g * 4 + 1]));
        const __m128i low23 = _mm_unpacklo_epi32(words(a[g * 4 + 2]), words(a[g * 4 + 3]));
        const __m128i high01 = _mm_unpackhi_epi32(words(a[g * 4]), words(a[g * 4 + 1]));
        const __m128i high23 = _mm_unpackhi_epi32(words(a[g * 4 + 2]), words(a[g * 4 + 3]));
        _mm256_store_ps(wide[g], _mm256_cvtph_ps(_mm_unpacklo_epi64(low01, low23)));
        _mm256_store_ps(wide[g + 8], _mm256_cvtph_ps(_mm_unpackhi_epi64(low01, low23)));
        _mm256_store_ps(wide[g] + 8, _mm256_cvtph_ps(_mm_unpacklo_epi64(high01, high23)));
        _mm256_store_ps(wide[g + 8] + 8, _mm256_cvtph_ps(_mm_unpackhi_epi64(high01, high23)));
    }
}

// An 8×8 matrix of words, transposed.
void transpose(__m256i (&rows)[8]) {
    __m256i pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            fours[i + j * 2] = _mm256_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
            fours[i + j * 2 + 1] = _mm256_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
        }
    }
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
    }
}

// The rows of b. A column's lanes hold, word by word, the pairs of rows 0, 8, 2, 10, 4, 12, 6, 14.
void widen_columns(const Words2 (&b)[WARP_SIZE], __m256 (&wide)[16]) {
    __m256i words[8];
    for (int g = 0; g < 8; g++) words[g] = _mm256_load_si256(reinterpret_cast<const __m256i*>(&b[g * 4]));
    transpose(words);
    for (int i = 0; i < 8; i++) {
        const __m256i even = _mm256_and_si256(words[i], _mm256_set1_epi32(0xffff));
        const __m256i odd = _mm256_srli_epi32(words[i], 16);
        // packus works within 128 bits: the four quarters are even 0–3, odd 0–3, even 4–7, odd 4–7.
        const __m256i rows = _mm256_permute4x64_epi64(_mm256_packus_epi32(even, odd), 0b11011000);
        const int row = i / 2 * 2 + i % 2 * 8;
        wide[row] = _mm256_cvtph_ps(_mm256_castsi256_si128(rows));
        wide[row + 1] = _mm256_cvtph_ps(_mm256_extracti128_si256(rows, 1));
    }
}

}  // namespace

void multiply_add(Fragments& fragments) {
    alignas(32) float a[16][16];
    __m256 b[16];
    widen_rows(fragments.a, a);
    widen_columns(fragments.b, b);
    // Four rows at once, g and g + 8 of two groups, hide the latency of the sums. A row is the lower or the upper half
    // of each of four lanes' c; unpacking exchanges columns 2–3 and 4–5, which the permutation undoes, in both ways.
    for (int g = 0; g < 8; g += 2) {
        double* const lanes[2] = {reinterpret_cast<double*>(&fragments.c[g * 4]),
                                  reinterpret_cast<double*>(&fragments.c[g * 4 + 4])};
        __m256 sums[4];
        for (int i = 0; i < 2; i++) {
            const __m256d first = _mm256_load_pd(lanes[i]);
            const __m256d second = _mm256_load_pd(lanes[i] + 4);
            sums[i * 2] = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_unpacklo_pd(first, second), 0b11011000));
            sums[i * 2 + 1] = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_unpackhi_pd(first, second), 0b11011000));
        }
        for (int k = 0; k < 16; k++) {
            for (int i = 0; i < 2; i++) {
                sums[i * 2] = _mm256_fmadd_ps(_mm256_broadcast_ss(&a[g + i][k]), b[k], sums[i * 2]);
                sums[i * 2 + 1] = _mm256_fmadd_ps(_mm256_broadcast_ss(&a[g + i + 8][k]), b[k], sums[i * 2 + 1]);
            }
        }
        for (int i = 0; i < 2; i++) {
            const __m256d upper = _mm256_permute4x64_pd(_mm256_castps_pd(sums[i * 2]), 0b11011000);
            const __m256d lower = _mm256_permute4x64_pd(_mm256_castps_pd(sums[i * 2 + 1]), 0b11011000);
            _mm256_store_pd(lanes[i], _mm256_unpacklo_pd(upper, lower));
            _mm256_store_pd(lanes[i] + 4, _mm256_unpackhi_pd(upper, lower));
        }
    }
}

#else

void multiply_add(Fragments& fragments) {
    const auto half = [](unsigned pair, int which) {
        return half_to_float(which % 2 == 0 ? pair & 0xffff : pair >> 16);
    };
    float a[16][16], b[16][8];
    for (int lane = 0; lane < int(WARP_SIZE); lane++) {
        const int g = lane / 4, m = lane % 4;
        for (int i = 0; i < 2; i++) {
            a[g][m * 2 + i] = half(fragments.a[lane].x, i);
            a[g + 8][m * 2 + i] = half(fragments.a[lane].y, i);
            a[g][m * 2 + 8 + i] = half(fragments.a[lane].z, i);
            a[g + 8][m * 2 + 8 + i] = half(fragments.a[lane].w, i);
            b[m * 2 + i][g] = half(fragments.b[lane].x, i);
            b[m * 2 + 8 + i][g] = half(fragments.b[lane].y, i);
        }
    }
    for (int lane = 0; lane < int(WARP_SIZE); lane++) {
        const int g = lane / 4, m = lane % 4;
        Floats4& c = fragments.c[lane];
        for (int k = 0; k < 16; k++) {
            c.x = fmaf(a[g][k], b[k][m * 2], c.x);
            c.y = fmaf(a[g][k], b[k][m * 2 + 1], c.y);
            c.z = fmaf(a[g + 8][k], b[k][m * 2], c.z);
            c.w = fmaf(a[g + 8][k], b[k][m * 2 + 1], c.w);
        }
    }
}

#endif

}  // namespace simt
