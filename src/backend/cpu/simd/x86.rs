//! The levels of x86-64. A level's type can only be made where the processor has the level.

use super::vector::{Bf16x2, DIGIT_BITS, I8x4, Routine, Simd};
use crate::backend::PRECISION_BITS;
use half::f16;
use std::arch::x86_64::*;

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// Proof of AVX-512 F, BW, DQ and VL, and of what [`Avx2`] proves.
#[derive(Clone, Copy)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Avx2::detect().filter(|_| has).map(Self)
    }
}

/// Wraps intrinsics as methods: `name(arguments) = expression;`.
macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) $(-> $result)? {
            // SAFETY: `self` proves that the processor has the instructions; the slices that pointers are taken
            // of were cut to the length that is read or written.
            unsafe { $body }
        }
    )+};
}

/// Delegates operations to the level below.
macro_rules! below {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) $(-> $result)? {
            self.0.$name($($argument),*)
        }
    )+};
}

/// [`Simd::call`] for a level's type and features.
macro_rules! call {
    ($level:ty, $features:literal) => {
        #[inline(always)]
        fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
            #[target_feature(enable = $features)]
            #[inline(never)]
            fn with_features<R: Routine<$level>>(simd: $level, routine: R) -> R::Output {
                routine.run_at(simd)
            }
            // SAFETY: `self` exists only where the processor has the features.
            unsafe { with_features(self, routine) }
        }
    };
}

/// Transposes 8 vectors of 16-bit elements within each 128-bit half.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_words(mut words: [__m256i; 8]) -> [__m256i; 8] {
    // Interleaves vector i with vector i + 4, three times.
    for _ in 0..3 {
        let mut next = words;
        for i in 0..4 {
            next[2 * i] = _mm256_unpacklo_epi16(words[i], words[i + 4]);
            next[2 * i + 1] = _mm256_unpackhi_epi16(words[i], words[i + 4]);
        }
        words = next;
    }
    words
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;
    const ROW_BLOCK: usize = 48;
    type F = __m256;
    type Pairs = __m256;
    const PAIR_PARTS: usize = 2;
    type I = __m256i;
    const QUAD_PARTS: usize = 2;

    call!(Avx2, "avx2,fma,f16c");

    operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        load(from: &[f32]) -> __m256 = _mm256_loadu_ps(from[..8].as_ptr());
        load_f16(from: &[f16], _part: usize) -> __m256 =
            _mm256_cvtph_ps(_mm_loadu_si128(from[..8].as_ptr().cast()));
        load_pairs(from: &[Bf16x2], part: usize) -> __m256 = {
            let halves = _mm_loadu_si128(from[..8].as_ptr().cast::<__m128i>().add(part));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        };
        splat_pair(word: i32) -> __m256 = _mm256_set1_ps(f32::from_bits(word as u32));
        dot_pairs(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        splat_i32(x: i32) -> __m256i = _mm256_set1_epi32(x);
        load_i32(from: &[i32]) -> __m256i = _mm256_loadu_si256(from[..8].as_ptr().cast());
        load_bytes(from: &[u8]) -> __m256i = _mm256_cvtepu8_epi16(_mm_loadu_si128(from[..16].as_ptr().cast()));
        dot_words(a: __m256i, b: __m256i, c: __m256i) -> __m256i = _mm256_add_epi32(c, _mm256_madd_epi16(a, b));
        store_clipped(high: [__m256i; 2], low: [__m256i; 2], to: &mut [u8; 16]) = {
            let mut wide = low;
            for i in 0..2 {
                let sum = _mm256_add_epi32(_mm256_slli_epi32::<{ DIGIT_BITS as i32 }>(high[i]), low[i]);
                wide[i] = _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sum);
            }
            // Both packs saturate, which is the clamp; the first one works within 128-bit halves, hence the
            // permutation.
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(wide[0], wide[1]));
            let (first, second) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_packus_epi16(first, second));
        };
        to_float(x: __m256i) -> __m256 = _mm256_cvtepi32_ps(x);
        load_quads(from: &[I8x4], part: usize) -> __m256i =
            _mm256_cvtepi8_epi16(_mm_loadu_si128(from[..8].as_ptr().cast::<__m128i>().add(part)));
        store(x: __m256, to: &mut [f32]) = _mm256_storeu_ps(to[..8].as_mut_ptr(), x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        recip(x: __m256) -> __m256 = _mm256_div_ps(_mm256_set1_ps(1.0), x);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        round(x: __m256) -> __m256 = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        sum(x: __m256) -> f32 = {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        };
        largest(x: __m256) -> f32 = {
            let four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        };
        scale(x: __m256, n: __m256) -> __m256 = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(
            _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)))));
        pair_pixels(rows: [&[u8; 16]; 16], to: &mut [[[i32; 16]; 3]; 2]) = {
            // A channel of a pixel beside that of its right neighbour.
            let order = _mm256_broadcastsi128_si256(
                _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1));
            let mut words = [_mm256_setzero_si256(); 8];
            for (i, words) in words.iter_mut().enumerate() {
                // The rows of the halves are chosen so that widening, which works within halves, puts all 16 in order.
                let row = i + i / 4 * 4;
                let both = _mm256_loadu2_m128i(rows[row + 4].as_ptr().cast(), rows[row].as_ptr().cast());
                *words = _mm256_shuffle_epi8(both, order);
            }
            let (words, zero) = (transpose_words(words), _mm256_setzero_si256());
            for pair in 0..2 {
                for c in 0..3 {
                    let (words, to) = (words[4 * pair + c], to[pair][c].as_mut_ptr().cast::<__m256i>());
                    _mm256_storeu_si256(to, _mm256_unpacklo_epi8(words, zero));
                    _mm256_storeu_si256(to.add(1), _mm256_unpackhi_epi8(words, zero));
                }
            }
        };
        pair_rows(columns: &[[u8; 16]; 16]) -> [[u8; 32]; 8] = {
            let mut words = [_mm256_setzero_si256(); 8];
            for (i, words) in words.iter_mut().enumerate() {
                *words = _mm256_loadu2_m128i(columns[i + 8].as_ptr().cast(), columns[i].as_ptr().cast());
            }
            let mut rows = [[0; 32]; 8];
            for (to, words) in rows.iter_mut().zip(transpose_words(words)) {
                _mm256_storeu_si256(to.as_mut_ptr().cast(), words);
            }
            rows
        };
        transpose(rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] = {
            let (a, b) = (_mm256_loadu_ps(rows[0].as_ptr()), _mm256_loadu_ps(rows[1].as_ptr()));
            let (c, d) = (_mm256_loadu_ps(rows[2].as_ptr()), _mm256_loadu_ps(rows[3].as_ptr()));
            let (e, f) = (_mm256_loadu_ps(rows[4].as_ptr()), _mm256_loadu_ps(rows[5].as_ptr()));
            let (g, h) = (_mm256_loadu_ps(rows[6].as_ptr()), _mm256_loadu_ps(rows[7].as_ptr()));
            // Interleaves pairs of rows, then fours of them, within each half; then joins the halves.
            let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
            let (ab_high, cd_high) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
            let (ef, gh) = (_mm256_unpacklo_ps(e, f), _mm256_unpacklo_ps(g, h));
            let (ef_high, gh_high) = (_mm256_unpackhi_ps(e, f), _mm256_unpackhi_ps(g, h));
            let upper = [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
            ];
            let lower = [
                _mm256_shuffle_ps::<0x44>(ef, gh),
                _mm256_shuffle_ps::<0xee>(ef, gh),
                _mm256_shuffle_ps::<0x44>(ef_high, gh_high),
                _mm256_shuffle_ps::<0xee>(ef_high, gh_high),
            ];
            let mut columns = [[0.0; 8]; 8];
            for i in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(upper[i], lower[i]);
                let high = _mm256_permute2f128_ps::<0x31>(upper[i], lower[i]);
                _mm256_storeu_ps(columns[i].as_mut_ptr(), low);
                _mm256_storeu_ps(columns[i + 4].as_mut_ptr(), high);
            }
            columns
        };
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 4;
    const ROW_BLOCK: usize = 96;
    type F = __m512;
    type Pairs = __m512;
    const PAIR_PARTS: usize = 2;
    type I = __m512i;
    const QUAD_PARTS: usize = 2;

    call!(Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c");

    operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        load(from: &[f32]) -> __m512 = _mm512_loadu_ps(from[..16].as_ptr());
        load_f16(from: &[f16], _part: usize) -> __m512 =
            _mm512_cvtph_ps(_mm256_loadu_si256(from[..16].as_ptr().cast()));
        load_pairs(from: &[Bf16x2], part: usize) -> __m512 = {
            let halves = _mm256_loadu_si256(from[..16].as_ptr().cast::<__m256i>().add(part));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        };
        splat_pair(word: i32) -> __m512 = _mm512_set1_ps(f32::from_bits(word as u32));
        dot_pairs(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        splat_i32(x: i32) -> __m512i = _mm512_set1_epi32(x);
        load_i32(from: &[i32]) -> __m512i = _mm512_loadu_si512(from[..16].as_ptr().cast());
        load_bytes(from: &[u8]) -> __m512i = _mm512_cvtepu8_epi16(_mm256_loadu_si256(from[..32].as_ptr().cast()));
        dot_words(a: __m512i, b: __m512i, c: __m512i) -> __m512i = _mm512_add_epi32(c, _mm512_madd_epi16(a, b));
        store_clipped(high: [__m512i; 2], low: [__m512i; 2], to: &mut [u8; 16]) = {
            let sum = _mm512_add_epi32(_mm512_slli_epi32::<{ DIGIT_BITS }>(high[0]), low[0]);
            let wide = _mm512_max_epi32(_mm512_srai_epi32::<{ PRECISION_BITS }>(sum), _mm512_setzero_si512());
            _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(wide));
        };
        to_float(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        load_quads(from: &[I8x4], part: usize) -> __m512i =
            _mm512_cvtepi8_epi16(_mm256_loadu_si256(from[..16].as_ptr().cast::<__m256i>().add(part)));
        store(x: __m512, to: &mut [f32]) = _mm512_storeu_ps(to[..16].as_mut_ptr(), x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        recip(x: __m512) -> __m512 = {
            // 14 bits, doubled by one Newton step: a division takes as long as ten instructions.
            let near = _mm512_rcp14_ps(x);
            _mm512_fmadd_ps(near, _mm512_fnmadd_ps(x, near, _mm512_set1_ps(1.0)), near)
        };
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        round(x: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        sum(x: __m512) -> f32 = _mm512_reduce_add_ps(x);
        largest(x: __m512) -> f32 = _mm512_reduce_max_ps(x);
        scale(x: __m512, n: __m512) -> __m512 = _mm512_scalef_ps(x, n);
    }

    below! {
        pair_pixels(rows: [&[u8; 16]; 16], to: &mut [[[i32; 16]; 3]; 2]);
        pair_rows(columns: &[[u8; 16]; 16]) -> [[u8; 32]; 8];
        transpose(rows: [[f32; 8]; 8]) -> [[f32; 8]; 8];
    }
}

/// What the levels above [`Avx512`] take over unchanged.
macro_rules! as_avx512 {
    () => {
        const LANES: usize = Avx512::LANES;
        const TILE_ROWS: usize = Avx512::TILE_ROWS;
        const TILE_VECTORS: usize = Avx512::TILE_VECTORS;
        const ROW_BLOCK: usize = Avx512::ROW_BLOCK;
        type F = __m512;
        type I = __m512i;

        below! {
            splat(x: f32) -> __m512;
            load(from: &[f32]) -> __m512;
            load_f16(from: &[f16], part: usize) -> __m512;
            store(x: __m512, to: &mut [f32]);
            add(a: __m512, b: __m512) -> __m512;
            sub(a: __m512, b: __m512) -> __m512;
            mul(a: __m512, b: __m512) -> __m512;
            recip(x: __m512) -> __m512;
            min(a: __m512, b: __m512) -> __m512;
            max(a: __m512, b: __m512) -> __m512;
            mul_add(a: __m512, b: __m512, c: __m512) -> __m512;
            round(x: __m512) -> __m512;
            sum(x: __m512) -> f32;
            largest(x: __m512) -> f32;
            scale(x: __m512, n: __m512) -> __m512;
            splat_i32(x: i32) -> __m512i;
            load_i32(from: &[i32]) -> __m512i;
            load_bytes(from: &[u8]) -> __m512i;
            store_clipped(high: [__m512i; 2], low: [__m512i; 2], to: &mut [u8; 16]);
            to_float(x: __m512i) -> __m512;
            pair_pixels(rows: [&[u8; 16]; 16], to: &mut [[[i32; 16]; 3]; 2]);
            pair_rows(columns: &[[u8; 16]; 16]) -> [[u8; 32]; 8];
            transpose(rows: [[f32; 8]; 8]) -> [[f32; 8]; 8];
        }
    };
}

/// Proof of AVX512-VNNI, and of what [`Avx512`] proves.
#[derive(Clone, Copy)]
pub(super) struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512vnni");
        Avx512::detect().filter(|_| has).map(Self)
    }
}

impl Simd for Avx512Vnni {
    as_avx512!();
    type Pairs = __m512;
    const PAIR_PARTS: usize = Avx512::PAIR_PARTS;
    const QUAD_PARTS: usize = 1;

    call!(Avx512Vnni, "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c");

    operations! {
        load_quads(from: &[I8x4], _part: usize) -> __m512i = _mm512_loadu_si512(from[..16].as_ptr().cast());
        dot_words(a: __m512i, b: __m512i, c: __m512i) -> __m512i = _mm512_dpwssd_epi32(c, a, b);
        dot_quads(a: __m512i, b: __m512i, c: __m512i) -> __m512i = _mm512_dpbusd_epi32(c, a, b);
    }

    below! {
        load_pairs(from: &[Bf16x2], part: usize) -> __m512;
        splat_pair(word: i32) -> __m512;
        dot_pairs(a: __m512, b: __m512, c: __m512) -> __m512;
    }
}

/// Proof of AVX512-BF16, and of what [`Avx512Vnni`] proves.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512Vnni);

impl Avx512Bf16 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512bf16");
        Avx512Vnni::detect().filter(|_| has).map(Self)
    }

    /// Whether its dot products are faster than the multiply-adds that they replace: so on AMD's processors, which
    /// alone have SSE4a. On Intel's `vdpbf16ps` takes four times as long as an FMA (Emerald Rapids,
    /// benches/RESULTS.md).
    pub(super) fn is_fast(self) -> bool {
        is_x86_feature_detected!("sse4a")
    }
}

impl Simd for Avx512Bf16 {
    as_avx512!();
    type Pairs = __m512bh;
    const PAIR_PARTS: usize = 1;
    const QUAD_PARTS: usize = Avx512Vnni::QUAD_PARTS;

    call!(Avx512Bf16, "avx512bf16,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c");

    operations! {
        load_pairs(from: &[Bf16x2], _part: usize) -> __m512bh =
            std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from[..16].as_ptr().cast()));
        splat_pair(word: i32) -> __m512bh = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word));
        dot_pairs(a: __m512bh, b: __m512bh, c: __m512) -> __m512 = _mm512_dpbf16_ps(c, a, b);
    }

    below! {
        load_quads(from: &[I8x4], part: usize) -> __m512i;
        dot_words(a: __m512i, b: __m512i, c: __m512i) -> __m512i;
        dot_quads(a: __m512i, b: __m512i, c: __m512i) -> __m512i;
    }
}
