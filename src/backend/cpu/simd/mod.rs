//! Vectors of f32 at each instruction-set level, and the choice between the levels at run time.
//!
//! A level's type ([`Avx2`], [`Avx512`]) is a proof that the processor has the instructions: it can only be made
//! by asking the processor. That keeps the kernels free of `unsafe`: they are generic over [`Simd`] and run inside
//! [`Simd::call`], whose target features let the operations inline.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::rounded::{Pair, Quad};
use half::f16;
use portable::Portable;
use std::ops::Range;
#[cfg(target_arch = "x86_64")]
use x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni};

/// An instruction-set level of the CPU backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// What every processor of the architecture has; vectorised by the compiler.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 16 lanes.
    Avx512,
    /// As [`SimdLevel::Avx512`], with the integer dot products of AVX512-VNNI.
    Avx512Vnni,
    /// As [`SimdLevel::Avx512Vnni`], with the dot products of AVX512-BF16.
    Avx512Bf16,
}

impl SimdLevel {
    /// All levels, the lowest first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16];

    /// Whether this machine's processor has the level.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => Avx2::detect().is_some(),
            Self::Avx512 => Avx512::detect().is_some(),
            Self::Avx512Vnni => Avx512Vnni::detect().is_some(),
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some(),
        }
    }

    /// Whether this machine's processor has the level.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// The fastest level that this machine has: the highest, but not [`SimdLevel::Avx512Bf16`] where its dot products
    /// are slower than the multiply-adds that they stand for, as on Intel's processors.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_fast()).unwrap_or(Self::Portable)
    }

    fn is_fast(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512Bf16 {
            return Avx512Bf16::detect().is_some_and(Avx512Bf16::is_fast);
        }
        self.is_available()
    }

    /// How products are cut at this level.
    pub(super) fn tiling(self) -> Tiling {
        struct Read;
        impl Kernel for Read {
            type Output = Tiling;
            fn run<S: Simd>(self, _: S) -> Tiling {
                Tiling {
                    panel_width: S::TILE_VECTORS * S::LANES,
                    tile_rows: S::TILE_ROWS,
                    lanes: S::LANES,
                    row_block: S::ROW_BLOCK,
                    pair_parts: S::PAIR_PARTS,
                    quad_parts: S::QUAD_PARTS,
                }
            }
        }
        self.dispatch(Read)
    }

    /// Runs a kernel at this level, or at the portable one where the processor lacks it.
    pub(super) fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Portable => {}
            Self::Avx2 => {
                if let Some(simd) = Avx2::detect() {
                    return simd.call(kernel);
                }
            }
            Self::Avx512 => {
                if let Some(simd) = Avx512::detect() {
                    return simd.call(kernel);
                }
            }
            Self::Avx512Vnni => {
                if let Some(simd) = Avx512Vnni::detect() {
                    return simd.call(kernel);
                }
            }
            Self::Avx512Bf16 => {
                if let Some(simd) = Avx512Bf16::detect() {
                    return simd.call(kernel);
                }
            }
        }
        Portable.call(kernel)
    }
}

/// How near to the processor memory is fetched.
#[derive(Clone, Copy)]
pub(super) enum Near {
    /// The first-level cache, for what is wanted within a tile.
    First,
    /// The second-level cache.
    Second,
}

/// Fetches the line of memory at an address. Any address will do, for nothing is read.
#[inline(always)]
pub(super) fn prefetch<T>(line: *const T, near: Near) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and no address makes it fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match near {
            Near::First => _mm_prefetch::<_MM_HINT_T0>(line.cast()),
            Near::Second => _mm_prefetch::<_MM_HINT_T1>(line.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (line, near);
}

/// The same for all lines of `count` elements from an address on.
#[inline(always)]
pub(super) fn prefetch_lines<T>(from: *const T, count: usize, near: Near) {
    for first in (0..count).step_by(64 / size_of::<T>()) {
        prefetch(from.wrapping_add(first), near);
    }
}

/// How a level cuts products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Columns of a panel.
    pub(super) panel_width: usize,
    /// [`Simd::TILE_ROWS`]
    pub(super) tile_rows: usize,
    /// [`Simd::LANES`]
    pub(super) lanes: usize,
    /// [`Simd::ROW_BLOCK`]
    pub(super) row_block: usize,
    /// [`Simd::PAIR_PARTS`]
    pub(super) pair_parts: usize,
    /// [`Simd::QUAD_PARTS`]
    pub(super) quad_parts: usize,
}

/// A piece of work that is written once for all levels. Everything below `run` must be `#[inline(always)]`:
/// only what is inlined into [`Simd::call`] is compiled for the level.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A piece of work at one level: a [`Kernel`], or what has the level's vectors in it.
pub(super) trait Routine<S> {
    type Output;
    fn run_at(self, simd: S) -> Self::Output;
}

impl<S: Simd, K: Kernel> Routine<S> for K {
    type Output = K::Output;
    #[inline(always)]
    fn run_at(self, simd: S) -> K::Output {
        self.run(simd)
    }
}

/// Vectors of f32. Slices given to `load` and `store` hold at least `LANES` elements, or the call panics.
pub(super) trait Simd: Copy + Send + Sync {
    /// Elements of a vector.
    const LANES: usize;
    /// Rows of the matrix product's register tile, at most 6.
    const TILE_ROWS: usize;
    /// Vectors a row of the register tile, 2 or 4. Accumulators, one row of weights and a broadcast fit the registers.
    const TILE_VECTORS: usize;
    /// Left-hand rows that a task takes through a panel, about: 768 columns of them and two panels of as many rows, one of
    /// them on its way, take half to two thirds of the second-level cache of processors whose highest level this is.
    const ROW_BLOCK: usize;

    type F: Copy;
    /// A vector of bf16 pairs, or one half of each of them widened to f32.
    type Pairs: Copy;
    /// How many multiply-adds the dot product of pairs takes: 1 as an instruction; else 2, of the second elements, then
    /// of the first, which is what the instruction does and so gives the same bits.
    const PAIR_PARTS: usize;
    /// A vector of 32-bit integers, of quads, or of one half of each quad as words of two 16-bit integers.
    type I: Copy;
    /// How many multiply-adds the dot product of quads takes: 1 as an instruction, else 2.
    const QUAD_PARTS: usize;

    /// Runs a routine as a function of its own, compiled for the level.
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32]) -> Self::F;
    fn load_f16(self, from: &[f16]) -> Self::F;
    fn load_pairs(self, from: &[Pair], part: usize) -> Self::Pairs;
    fn splat_pair(self, word: i32) -> Self::Pairs;
    /// One part of `a·b + c`, of all pairs.
    fn dot_pairs(self, a: Self::Pairs, b: Self::Pairs, c: Self::F) -> Self::F;
    fn splat_i32(self, x: i32) -> Self::I;
    fn load_i32(self, from: &[i32]) -> Self::I;
    /// `2 · LANES` bytes as words of two 16-bit integers.
    fn load_bytes(self, from: &[u8]) -> Self::I;
    /// `a·b + c` of words of two signed 16-bit integers.
    fn dot_words(self, a: Self::I, b: Self::I, c: Self::I) -> Self::I;
    /// Stores 16 of `(high · 2¹² + low) >> 22` as bytes, clamped: sums of digits of `crop_resize`, in as many vectors as
    /// hold 16.
    fn store_clipped(self, high: [Self::I; 2], low: [Self::I; 2], to: &mut [u8; 16]);
    fn to_float(self, x: Self::I) -> Self::F;
    fn load_quads(self, from: &[Quad], part: usize) -> Self::I;
    /// One part of `a·b + c`, of all quads; exact.
    #[inline(always)]
    fn dot_quads(self, a: Self::I, b: Self::I, c: Self::I) -> Self::I {
        self.dot_words(a, b, c)
    }
    fn store(self, x: Self::F, to: &mut [f32]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `1/x`, to a unit in the last place or two, of positive and finite numbers.
    fn recip(self, x: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a·b + c`; with one rounding where the level has FMA.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, x: Self::F) -> Self::F;
    /// `x · 2ⁿ` for integral `n` in −126 ..= 127.
    fn scale(self, x: Self::F, n: Self::F) -> Self::F;

    /// Rows to columns.
    #[inline(always)]
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|i| rows.map(|row| row[i]))
    }

    /// Two pairs of pixels from each of 16 rows: for a pair and a channel, the rows' words of two 16-bit integers, the left
    /// pixel's, then the right one's. A row's last four bytes are not looked at.
    #[inline(always)]
    fn pair_pixels(self, rows: [&[u8; 16]; 16], to: &mut [[[i32; 16]; 3]; 2]) {
        for (pair, to) in to.iter_mut().enumerate() {
            for (c, to) in to.iter_mut().enumerate() {
                for (word, row) in to.iter_mut().zip(rows) {
                    *word = bytemuck::cast([row[6 * pair + c], row[6 * pair + 3 + c]].map(i16::from));
                }
            }
        }
    }

    /// Columns of 16 rows as 8 pairs of rows: of each column a byte and the one below it.
    #[inline(always)]
    fn pair_rows(self, columns: &[[u8; 16]; 16]) -> [[u8; 32]; 8] {
        std::array::from_fn(|pair| std::array::from_fn(|i| columns[i / 2][2 * pair + i % 2]))
    }

    /// The first elements of a vector; the others are `fill`.
    #[inline(always)]
    fn load_head(self, from: &[f32], fill: f32) -> Self::F {
        if from.is_empty() {
            return self.splat(fill);
        }
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

    /// The elements of a row that vector `v` has, of a row of `len`.
    #[inline(always)]
    fn part(v: usize, len: usize) -> Range<usize> {
        len.min(v * Self::LANES)..len.min((v + 1) * Self::LANES)
    }

    /// A row's first `NV` vectors, with zeros beyond the row's end. Here and in [`Simd::store_row`] every index is a
    /// constant once the loops are unrolled: one that is not would keep the whole array in memory.
    #[inline(always)]
    fn load_row<const NV: usize>(self, row: &[f32]) -> [Self::F; NV] {
        let mut vectors = [self.splat(0.0); NV];
        if let Some(whole) = row.get(..NV * Self::LANES) {
            for v in 0..NV {
                vectors[v] = self.load(&whole[v * Self::LANES..]);
            }
            return vectors;
        }
        for v in 0..NV {
            vectors[v] = self.load_head(&row[Self::part(v, row.len())], 0.0);
        }
        vectors
    }

    /// Stores vectors to the row's first elements, as far as it goes.
    #[inline(always)]
    fn store_row<const NV: usize>(self, vectors: [Self::F; NV], row: &mut [f32]) {
        if let Some(whole) = row.get_mut(..NV * Self::LANES) {
            for v in 0..NV {
                self.store(vectors[v], &mut whole[v * Self::LANES..]);
            }
            return;
        }
        let len = row.len();
        for v in 0..NV {
            self.store_head(vectors[v], &mut row[Self::part(v, len)]);
        }
    }

    /// Sum of the elements: the upper half to the lower one, until one is left.
    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        let mut lanes = [0.0; 16];
        self.store(x, &mut lanes);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }

    /// The largest element, of no NaN.
    #[inline(always)]
    fn largest(self, x: Self::F) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 16];
        self.store(x, &mut lanes);
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] = if lanes[i] > lanes[i + half] { lanes[i] } else { lanes[i + half] };
            }
        }
        lanes[0]
    }
}
