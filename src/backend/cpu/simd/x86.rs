//! The levels of x86-64. A level's type can only be made where the processor has the level.

use super::{Simd, half_of};
use crate::backend::cpu::rounded::{Pair, Quad};
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
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Avx2::detect().filter(|_| has).map(|_| Self(()))
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

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 2;
    type F = __m256;
    type Pairs = __m256;
    const PAIR_PARTS: usize = 2;
    type I = __m256i;
    type Quads = __m256i;

    operations! {
        splat(x: f32) -> __m256 = _mm256_set1_ps(x);
        load(from: &[f32]) -> __m256 = _mm256_loadu_ps(from[..8].as_ptr());
        load_f16(from: &[f16]) -> __m256 = _mm256_cvtph_ps(_mm_loadu_si128(from[..8].as_ptr().cast()));
        load_pairs(from: &[Pair], part: usize) -> __m256 = {
            let pairs = _mm256_loadu_si256(from[..8].as_ptr().cast());
            _mm256_castsi256_ps(if part == 0 {
                _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32 as i32))
            } else {
                _mm256_slli_epi32::<16>(pairs)
            })
        };
        splat_pair(pair: Pair, part: usize) -> __m256 = _mm256_set1_ps(half_of(pair, part));
        dot_pairs(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        load_i32(from: &[i32]) -> __m256i = _mm256_loadu_si256(from[..8].as_ptr().cast());
        to_float(x: __m256i) -> __m256 = _mm256_cvtepi32_ps(x);
        load_quads(from: &[Quad]) -> __m256i = _mm256_loadu_si256(from[..8].as_ptr().cast());
        splat_quad(quad: Quad) -> __m256i = _mm256_set1_epi32(quad.0 as i32);
        dot_quads(a: __m256i, b: __m256i, c: __m256i) -> __m256i = {
            // Even and odd bytes as 16-bit integers: `vpmaddubsw` would saturate.
            let (a0, a1) = (_mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(a));
            let (b0, b1) = (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)), _mm256_srai_epi16::<8>(b));
            _mm256_add_epi32(c, _mm256_add_epi32(_mm256_madd_epi16(a0, b0), _mm256_madd_epi16(a1, b1)))
        };
        store(x: __m256, to: &mut [f32]) = _mm256_storeu_ps(to[..8].as_mut_ptr(), x);
        add(a: __m256, b: __m256) -> __m256 = _mm256_add_ps(a, b);
        sub(a: __m256, b: __m256) -> __m256 = _mm256_sub_ps(a, b);
        mul(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps(a, b);
        div(a: __m256, b: __m256) -> __m256 = _mm256_div_ps(a, b);
        min(a: __m256, b: __m256) -> __m256 = _mm256_min_ps(a, b);
        max(a: __m256, b: __m256) -> __m256 = _mm256_max_ps(a, b);
        mul_add(a: __m256, b: __m256, c: __m256) -> __m256 = _mm256_fmadd_ps(a, b, c);
        round(x: __m256) -> __m256 = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        exp2_integer(n: __m256) -> __m256 = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(
            _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127))));
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;
    const TILE_VECTORS: usize = 4;
    type F = __m512;
    type Pairs = __m512;
    const PAIR_PARTS: usize = 2;
    type I = __m512i;
    type Quads = __m512i;

    operations! {
        splat(x: f32) -> __m512 = _mm512_set1_ps(x);
        load(from: &[f32]) -> __m512 = _mm512_loadu_ps(from[..16].as_ptr());
        load_f16(from: &[f16]) -> __m512 = _mm512_cvtph_ps(_mm256_loadu_si256(from[..16].as_ptr().cast()));
        load_pairs(from: &[Pair], part: usize) -> __m512 = {
            let pairs = _mm512_loadu_si512(from[..16].as_ptr().cast());
            _mm512_castsi512_ps(if part == 0 {
                _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32))
            } else {
                _mm512_slli_epi32::<16>(pairs)
            })
        };
        splat_pair(pair: Pair, part: usize) -> __m512 = _mm512_set1_ps(half_of(pair, part));
        dot_pairs(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        load_i32(from: &[i32]) -> __m512i = _mm512_loadu_si512(from[..16].as_ptr().cast());
        to_float(x: __m512i) -> __m512 = _mm512_cvtepi32_ps(x);
        load_quads(from: &[Quad]) -> __m512i = _mm512_loadu_si512(from[..16].as_ptr().cast());
        splat_quad(quad: Quad) -> __m512i = _mm512_set1_epi32(quad.0 as i32);
        dot_quads(a: __m512i, b: __m512i, c: __m512i) -> __m512i = {
            // Even and odd bytes as 16-bit integers: `vpmaddubsw` would saturate.
            let (a0, a1) = (_mm512_and_si512(a, _mm512_set1_epi16(0xff)), _mm512_srli_epi16::<8>(a));
            let (b0, b1) = (_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(b)), _mm512_srai_epi16::<8>(b));
            _mm512_add_epi32(c, _mm512_add_epi32(_mm512_madd_epi16(a0, b0), _mm512_madd_epi16(a1, b1)))
        };
        store(x: __m512, to: &mut [f32]) = _mm512_storeu_ps(to[..16].as_mut_ptr(), x);
        add(a: __m512, b: __m512) -> __m512 = _mm512_add_ps(a, b);
        sub(a: __m512, b: __m512) -> __m512 = _mm512_sub_ps(a, b);
        mul(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps(a, b);
        div(a: __m512, b: __m512) -> __m512 = _mm512_div_ps(a, b);
        min(a: __m512, b: __m512) -> __m512 = _mm512_min_ps(a, b);
        max(a: __m512, b: __m512) -> __m512 = _mm512_max_ps(a, b);
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512 = _mm512_fmadd_ps(a, b, c);
        round(x: __m512) -> __m512 =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
        exp2_integer(n: __m512) -> __m512 = _mm512_castsi512_ps(_mm512_slli_epi32::<23>(
            _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127))));
    }
}

/// Proof of AVX512-BF16 and AVX512-VNNI, and of what [`Avx512`] proves.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

impl Avx512Bf16 {
    pub(super) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        Avx512::detect().filter(|_| has).map(Self)
    }
}

/// Hands operations to the level below.
macro_rules! below {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) $(-> $result)? {
            self.0.$name($($argument),*)
        }
    )+};
}

impl Simd for Avx512Bf16 {
    const LANES: usize = Avx512::LANES;
    const TILE_ROWS: usize = Avx512::TILE_ROWS;
    const TILE_VECTORS: usize = Avx512::TILE_VECTORS;
    type F = __m512;
    type Pairs = __m512bh;
    const PAIR_PARTS: usize = 1;
    type I = __m512i;
    type Quads = __m512i;

    operations! {
        load_pairs(from: &[Pair], _part: usize) -> __m512bh =
            std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from[..16].as_ptr().cast()));
        splat_pair(pair: Pair, _part: usize) -> __m512bh =
            std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(pair.0 as i32));
        dot_pairs(a: __m512bh, b: __m512bh, c: __m512) -> __m512 = _mm512_dpbf16_ps(c, a, b);
        dot_quads(a: __m512i, b: __m512i, c: __m512i) -> __m512i = _mm512_dpbusd_epi32(c, a, b);
    }

    below! {
        splat(x: f32) -> __m512;
        load(from: &[f32]) -> __m512;
        load_f16(from: &[f16]) -> __m512;
        store(x: __m512, to: &mut [f32]);
        add(a: __m512, b: __m512) -> __m512;
        sub(a: __m512, b: __m512) -> __m512;
        mul(a: __m512, b: __m512) -> __m512;
        div(a: __m512, b: __m512) -> __m512;
        min(a: __m512, b: __m512) -> __m512;
        max(a: __m512, b: __m512) -> __m512;
        mul_add(a: __m512, b: __m512, c: __m512) -> __m512;
        round(x: __m512) -> __m512;
        exp2_integer(n: __m512) -> __m512;
        load_i32(from: &[i32]) -> __m512i;
        to_float(x: __m512i) -> __m512;
        load_quads(from: &[Quad]) -> __m512i;
        splat_quad(quad: Quad) -> __m512i;
    }
}
