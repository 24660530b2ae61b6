//! What a level's vectors do, and the work that is done with them.

use half::f16;
use std::ops::Range;

/// Bits of the lower digit of a weight of `crop_resize`. Both digits fit 16 bits, since weights stay below 2²⁷.
pub(in crate::backend::cpu) const DIGIT_BITS: u32 = 12;

/// Two bf16 that are neighbours in depth: what `vdpbf16ps` multiplies.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(in crate::backend::cpu) struct Bf16x2(pub(in crate::backend::cpu) u32);

/// Four 8-bit integers that are neighbours in depth: what `vpdpbusd` multiplies.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(in crate::backend::cpu) struct I8x4(pub(in crate::backend::cpu) u32);

/// A piece of work that is written once for all levels. Everything below `run` must be `#[inline(always)]`:
/// only what is inlined into [`Simd::call`] is compiled for the level.
pub(in crate::backend::cpu) trait SimdTask {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A piece of work at one level: a [`SimdTask`], or a type that contains the level's vectors.
pub(in crate::backend::cpu) trait Routine<S> {
    type Output;
    fn run_at(self, simd: S) -> Self::Output;
}

impl<S: Simd, K: SimdTask> Routine<S> for K {
    type Output = K::Output;
    #[inline(always)]
    fn run_at(self, simd: S) -> K::Output {
        self.run(simd)
    }
}

/// Vectors of f32. Slices given to `load` and `store` hold at least `LANES` elements, or the call panics.
pub(in crate::backend::cpu) trait Simd: Copy + Send + Sync {
    /// Elements of a vector.
    const LANES: usize;
    /// Rows of the matrix product's register tile, at most 6.
    const TILE_ROWS: usize;
    /// Vectors per row of the register tile, 2 or 4. Accumulators, one row of weights and a broadcast fit the
    /// registers.
    const TILE_VECTORS: usize;
    /// About how many left-hand rows a task multiplies by a panel: 768 columns of them and two panels of 768 rows, one
    /// of which is being prefetched, take half to two thirds of the second-level cache of processors whose highest
    /// level this is.
    const ROW_BLOCK: usize;

    type F: Copy;
    /// A vector of bf16 pairs, or one half of each of them widened to f32.
    type Pairs: Copy;
    /// How many multiply-adds the dot product of pairs takes: 1 if there is an instruction for it, else 2: of the
    /// second elements, then of the first, which is the instruction's order and so gives the same bits.
    const PAIR_PARTS: usize;
    /// A vector of 32-bit integers, of quads, or of one half of each quad as words of two 16-bit integers.
    type I: Copy;
    /// How many multiply-adds the dot product of quads takes: 1 if there is an instruction for it, else 2.
    const QUAD_PARTS: usize;

    /// Runs a routine as a function of its own, compiled for the level.
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, from: &[f32]) -> Self::F;
    /// As [`Simd::load`]; an f32 has a single part.
    #[inline(always)]
    fn load_f32(self, from: &[f32], _part: usize) -> Self::F {
        self.load(from)
    }
    fn load_f16(self, from: &[f16], _part: usize) -> Self::F;
    fn load_pairs(self, from: &[Bf16x2], part: usize) -> Self::Pairs;
    fn splat_pair(self, word: i32) -> Self::Pairs;
    /// One part of `a·b + c`, of all pairs.
    fn dot_pairs(self, a: Self::Pairs, b: Self::Pairs, c: Self::F) -> Self::F;
    fn splat_i32(self, x: i32) -> Self::I;
    fn load_i32(self, from: &[i32]) -> Self::I;
    /// `2 · LANES` bytes as words of two 16-bit integers.
    fn load_bytes(self, from: &[u8]) -> Self::I;
    /// `a·b + c` of words of two signed 16-bit integers.
    fn dot_words(self, a: Self::I, b: Self::I, c: Self::I) -> Self::I;
    /// Stores 16 elements of `(high · 2¹² + low) >> 22` as clamped bytes: the sums of `crop_resize`'s upper and lower
    /// digits, in as many vectors as hold 16.
    fn store_clipped(self, high: [Self::I; 2], low: [Self::I; 2], to: &mut [u8; 16]);
    fn to_float(self, x: Self::I) -> Self::F;
    fn load_quads(self, from: &[I8x4], part: usize) -> Self::I;
    /// One part of `a·b + c`, of all quads; exact.
    #[inline(always)]
    fn dot_quads(self, a: Self::I, b: Self::I, c: Self::I) -> Self::I {
        self.dot_words(a, b, c)
    }
    fn store(self, x: Self::F, to: &mut [f32]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `1/x`, within two units in the last place, for positive and finite `x`.
    fn recip(self, x: Self::F) -> Self::F;
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a·b + c`; with one rounding where the level has FMA.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Rounds to the nearest integer, ties to even.
    fn round(self, x: Self::F) -> Self::F;
    /// `x · 2ⁿ` for integral `n` in −126 ..= 127.
    fn scale(self, x: Self::F, n: Self::F) -> Self::F;

    /// Transposes an 8×8 matrix.
    #[inline(always)]
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|i| rows.map(|row| row[i]))
    }

    /// Two pairs of pixels from each of 16 rows: for each pair and channel, one word a row of two 16-bit integers, the
    /// left pixel's, then the right one's. A row's last four bytes are ignored.
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

    /// Transposes 16 columns of 16 rows to 8 pairs of rows: of each column a byte and the one below it.
    #[inline(always)]
    fn pair_rows(self, columns: &[[u8; 16]; 16]) -> [[u8; 32]; 8] {
        std::array::from_fn(|pair| std::array::from_fn(|i| columns[i / 2][2 * pair + i % 2]))
    }

    /// Loads the first elements of a vector; the others are `fill`.
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

    /// The range of elements that vector `v` has of a row of `len`.
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

    /// Sum of the elements: the upper half is added to the lower one until one is left.
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

    /// The largest element; none is NaN.
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
