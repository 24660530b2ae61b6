//! Vectors of f32 at each instruction-set level, and the choice between the levels at run time.
//!
//! A level's type ([`Avx2`], [`Avx512`]) is a proof that the processor has the instructions: it can only be made
//! by asking the processor. That keeps the kernels free of `unsafe`: they are generic over [`Simd`] and run inside
//! [`SimdLevel::dispatch`], whose target features let the operations inline.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::panel::{Pair, Quad};
use half::f16;

/// An instruction-set level of the CPU backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// What every processor of the architecture has; vectorised by the compiler.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 16 lanes.
    Avx512,
    /// As [`SimdLevel::Avx512`], with the dot products of AVX512-BF16 and AVX512-VNNI.
    Avx512Bf16,
}

impl SimdLevel {
    /// All levels, the lowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];

    /// Whether this machine's processor has the level.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => Avx2::detect().is_some(),
            Self::Avx512 => Avx512::detect().is_some(),
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some(),
        }
    }

    /// Whether this machine's processor has the level.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// The highest level that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Self::Portable)
    }

    /// Columns of a packed panel at this level.
    pub(super) fn panel_width(self) -> usize {
        struct Width;
        impl Kernel for Width {
            type Output = usize;
            fn run<S: Simd>(self, _: S) -> usize {
                S::TILE_VECTORS * S::LANES
            }
        }
        self.dispatch(Width)
    }

    /// Runs a kernel at this level, or at the portable one where the processor lacks it.
    pub(super) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Portable => {}
            Self::Avx2 => {
                if let Some(simd) = Avx2::detect() {
                    // SAFETY: `simd` exists only where the processor has the features of `in_avx2`.
                    return unsafe { in_avx2(simd, kernel) };
                }
            }
            Self::Avx512 => {
                if let Some(simd) = Avx512::detect() {
                    // SAFETY: `simd` exists only where the processor has the features of `in_avx512`.
                    return unsafe { in_avx512(simd, kernel) };
                }
            }
            Self::Avx512Bf16 => {
                if let Some(simd) = Avx512Bf16::detect() {
                    // SAFETY: `simd` exists only where the processor has the features of `in_avx512_bf16`.
                    return unsafe { in_avx512_bf16(simd, kernel) };
                }
            }
        }
        kernel.run(Portable)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn in_avx2<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn in_avx512<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
    kernel.run(simd)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn in_avx512_bf16<K: Kernel>(simd: Avx512Bf16, kernel: K) -> K::Output {
    kernel.run(simd)
}

/// A piece of work that is written once for all levels. Everything below `run` must be `#[inline(always)]`:
/// only what is inlined into [`SimdLevel::dispatch`]'s wrappers is compiled for the level.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Vectors of f32. Slices given to `load` and `store` hold at least `LANES` elements, or the call panics.
pub(super) trait Simd: Copy + Send + Sync {
    /// Elements of a vector.
    const LANES: usize;
    /// Rows of the matrix product's register tile, at most 6.
    const TILE_ROWS: usize;
    /// Vectors a row of the register tile, 2 or 4. Accumulators, one row of weights and a broadcast fit the registers.
    const TILE_VECTORS: usize;

    type F: Copy;
    /// A vector of bf16 pairs, or one half of each of them widened to f32.
    type Pairs: Copy;
    /// How many multiply-adds the dot product of pairs takes: 1 as an instruction; else 2, of the second halves, then of
    /// the first, which is what the instruction does and so gives the same bits.
    const PAIR_PARTS: usize;
    /// A vector of 32-bit integers.
    type I: Copy;
    /// A vector of quads.
    type Quads: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32]) -> Self::F;
    fn load_f16(self, from: &[f16]) -> Self::F;
    fn load_pairs(self, from: &[Pair], part: usize) -> Self::Pairs;
    fn splat_pair(self, pair: Pair, part: usize) -> Self::Pairs;
    /// One part of `a·b + c`, of all pairs.
    fn dot_pairs(self, a: Self::Pairs, b: Self::Pairs, c: Self::F) -> Self::F;
    fn load_i32(self, from: &[i32]) -> Self::I;
    fn to_float(self, x: Self::I) -> Self::F;
    fn load_quads(self, from: &[Quad]) -> Self::Quads;
    fn splat_quad(self, quad: Quad) -> Self::Quads;
    /// `a·b + c` of all quads, `a` unsigned and `b` signed; exact.
    fn dot_quads(self, a: Self::Quads, b: Self::Quads, c: Self::I) -> Self::I;
    fn store(self, x: Self::F, to: &mut [f32]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a·b + c`; with one rounding where the level has FMA.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, x: Self::F) -> Self::F;
    /// `2ⁿ` for integral `n` in −126 ..= 127.
    fn exp2_integer(self, n: Self::F) -> Self::F;

    /// The first elements of a vector; the others are `fill`.
    #[inline(always)]
    fn load_head(self, from: &[f32], fill: f32) -> Self::F {
        let mut whole = [fill; 16];
        whole[..from.len()].copy_from_slice(from);
        self.load(&whole)
    }

    /// Stores the first `to.len()` elements.
    #[inline(always)]
    fn store_head(self, x: Self::F, to: &mut [f32]) {
        let mut whole = [0.0; 16];
        self.store(x, &mut whole);
        to.copy_from_slice(&whole[..to.len()]);
    }

    /// Sum of the elements, in lane order.
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; 16];
        self.store(x, &mut lanes);
        lanes[..Self::LANES].iter().sum()
    }
}

/// The half of a pair that a part multiplies: the second one first.
#[inline(always)]
fn half_of(pair: Pair, part: usize) -> f32 {
    pair.widen()[1 - part]
}

/// The level without intrinsics: 8 lanes that the compiler maps to what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn map2(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    const TILE_VECTORS: usize = 2;
    type F = [f32; 8];
    type Pairs = [f32; 8];
    const PAIR_PARTS: usize = 2;
    type I = [i32; 8];
    type Quads = [Quad; 8];

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> [f32; 8] {
        *from.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> [f32; 8] {
        from.first_chunk::<8>().expect("8 elements").map(f16::to_f32)
    }
    #[inline(always)]
    fn load_pairs(self, from: &[Pair], part: usize) -> [f32; 8] {
        from.first_chunk::<8>().expect("8 elements").map(|pair| half_of(pair, part))
    }
    #[inline(always)]
    fn splat_pair(self, pair: Pair, part: usize) -> [f32; 8] {
        [half_of(pair, part); 8]
    }
    #[inline(always)]
    fn dot_pairs(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        self.mul_add(a, b, c)
    }
    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> [i32; 8] {
        *from.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn to_float(self, x: [i32; 8]) -> [f32; 8] {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn load_quads(self, from: &[Quad]) -> [Quad; 8] {
        *from.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn splat_quad(self, quad: Quad) -> [Quad; 8] {
        [quad; 8]
    }
    #[inline(always)]
    fn dot_quads(self, a: [Quad; 8], b: [Quad; 8], c: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| {
            let (a, b): ([u8; 4], [i8; 4]) = (bytemuck::cast(a[i]), bytemuck::cast(b[i]));
            c[i] + (0..4).map(|j| i32::from(a[j]) * i32::from(b[j])).sum::<i32>()
        })
    }
    #[inline(always)]
    fn store(self, x: [f32; 8], to: &mut [f32]) {
        *to.first_chunk_mut().expect("8 elements") = x;
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn round(self, x: [f32; 8]) -> [f32; 8] {
        // Adding 1.5 · 2²³ leaves no fraction bits; exact for |x| < 2²², rounded to even by the addition itself.
        const SHIFT: f32 = 12_582_912.0;
        x.map(|x| (x + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn exp2_integer(self, n: [f32; 8]) -> [f32; 8] {
        n.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
}

/// Proof of AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn detect() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }
}

/// Proof of AVX-512 F, BW, DQ and VL, and of what [`Avx2`] proves.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Avx2::detect().filter(|_| has).map(|_| Self(()))
    }
}

/// Wraps intrinsics as methods: `name(arguments) = expression;`.
#[cfg(target_arch = "x86_64")]
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

#[cfg(target_arch = "x86_64")]
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

#[cfg(target_arch = "x86_64")]
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
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni");
        Avx512::detect().filter(|_| has).map(Self)
    }
}

/// Hands operations to the level below.
#[cfg(target_arch = "x86_64")]
macro_rules! below {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) $(-> $result)? {
            self.0.$name($($argument),*)
        }
    )+};
}

#[cfg(target_arch = "x86_64")]
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
