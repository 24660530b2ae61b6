//! The register tile: the one inner loop of every matrix product on the CPU.
//!
//! `MR` rows times `NV` vectors of columns are accumulated in registers over the whole depth. A step reads `NV` vectors
//! of the panel (unit stride) and one word of each row, and does `MR·NV` fused multiply-adds, or as many dot products
//! of bf16 pairs or of four 8-bit integers; where the level lacks those, in two parts with a word each. It also
//! prefetches a cache line of what follows the panel's rows, so that the next tiles need not wait for memory. Levels:
//! AVX-512 6×64 (24 accumulators of 32 registers), AVX2 6×16 (12 of 16), portable 3×16.
//!
//! ```text
//!                            row k of the panel
//!                              w₀  w₁  w₂  w₃      NV vectors
//! word k of row 0, broadcast   Σ   Σ   Σ   Σ
//! word k of row 1, broadcast   Σ   Σ   Σ   Σ       MR × NV accumulators
//! …                            Σ   Σ   Σ   Σ
//! ```

use super::panel::{Element, PanelRows};
use super::rows::Rows;
use super::simd::{Near, Routine, Simd, prefetch};
use std::ops::Range;

/// What sums start from and where they go: for each left-hand row, vectors of the sums of a panel's columns.
pub(super) trait TileSink<S: Simd, T = <S as Simd>::F> {
    /// What the sums of every row start from: `zero`, or a value for each column, such as the bias.
    #[inline(always)]
    fn start<const NV: usize>(&self, zero: [T; NV]) -> [T; NV] {
        zero
    }
    /// Called before a tile, to prefetch what [`TileSink::finish`] reads of its rows.
    #[inline(always)]
    fn prepare(&mut self, _rows: Range<usize>) {}
    /// Takes a row's finished sums.
    fn finish<const NV: usize>(&mut self, row: usize, sums: [T; NV]);
}

/// Stores products in rows that are `stride` apart, from a column on.
pub(super) struct Store<'a, S> {
    pub(super) s: S,
    pub(super) rows: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) column: usize,
}

impl<S: Simd> TileSink<S> for Store<'_, S> {
    #[inline(always)]
    fn finish<const NV: usize>(&mut self, row: usize, sums: [S::F; NV]) {
        self.s.store_row(sums, &mut self.rows[row * self.stride + self.column..]);
    }
}

/// `start + left · panel` for each row and vector, tile by tile. The last tile has only as many rows as are left, so
/// that none is computed in vain.
#[inline(always)]
pub(super) fn multiply<S: Simd, E: Element>(
    s: S,
    left: Rows<'_, E::Word>,
    panel: PanelRows<'_, E>,
    epilogue: &mut impl TileSink<S, E::Sum<S>>,
) {
    // `TILE_VECTORS` is a constant of the level: the other arm is never compiled.
    match S::TILE_VECTORS {
        4 => tiles::<S, E, 4>(s, left, panel, epilogue),
        _ => tiles::<S, E, 2>(s, left, panel, epilogue),
    }
}

/// [`multiply`] for a level of tiles of `NV` vectors.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
fn tiles<S: Simd, E: Element, const NV: usize>(
    s: S,
    left: Rows<'_, E::Word>,
    panel: PanelRows<'_, E>,
    epilogue: &mut impl TileSink<S, E::Sum<S>>,
) {
    let PanelRows { rows: panel, next } = panel;
    let depth = panel.len() / (NV * S::LANES);
    let steps = left.count.div_ceil(S::TILE_ROWS) * depth;
    let mut ahead = Ahead { line: next.as_ptr(), stride: next.len().div_ceil(steps.max(1)) };
    let start = epilogue.start([E::zero(s); NV]);
    let mut sums = [start; 6];
    for row in (0..left.count).step_by(S::TILE_ROWS) {
        let count = S::TILE_ROWS.min(left.count - row);
        epilogue.prepare(row..row + count);
        match count {
            6 => s.call(Tile::<S, E, 6, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            5 => s.call(Tile::<S, E, 5, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            4 => s.call(Tile::<S, E, 4, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            3 => s.call(Tile::<S, E, 3, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            2 => s.call(Tile::<S, E, 2, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            1 => s.call(Tile::<S, E, 1, NV>::new(left, row, panel, ahead, &start, &mut sums)),
            rows => unreachable!("a tile of {rows} rows"),
        }
        // A loop, not a closure: a closure that is not inlined into the level's wrapper lacks the level's instructions.
        for r in 0..count {
            epilogue.finish(row + r, sums[r]);
        }
        ahead.line = ahead.line.wrapping_add(depth * ahead.stride);
    }
}

/// What a tile prefetches: the address of its first step's line, and the distance to the next step's.
#[derive(Clone, Copy)]
struct Ahead<E> {
    line: *const E,
    stride: usize,
}

/// `sums = start + rows · panel`. A routine of its own, so that the epilogue takes no registers from the accumulators.
/// It gets the rows as slices, not as a stride: each pointer then has a register, and no step computes addresses.
struct Tile<'a, S: Simd, E: Element, const MR: usize, const NV: usize> {
    rows: [&'a [E::Word]; MR],
    panel: &'a [E],
    ahead: Ahead<E>,
    /// The initial sums of every row.
    start: &'a [E::Sum<S>; NV],
    /// At least `MR` rows.
    sums: &'a mut [[E::Sum<S>; NV]],
}

impl<'a, S: Simd, E: Element, const MR: usize, const NV: usize> Tile<'a, S, E, MR, NV> {
    #[inline(always)]
    fn new(
        left: Rows<'a, E::Word>,
        first: usize,
        panel: &'a [E],
        ahead: Ahead<E>,
        start: &'a [E::Sum<S>; NV],
        sums: &'a mut [[E::Sum<S>; NV]],
    ) -> Self {
        let words = panel.len() / (NV * S::LANES) * E::parts::<S>();
        let mut rows: [&[E::Word]; MR] = [&[]; MR];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = left.row(first + r, words);
        }
        Self { rows, panel, ahead, start, sums }
    }

    /// Step `k` of the depth.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
    fn step(&self, s: S, k: usize, sums: &mut [[E::Sum<S>; NV]; MR]) {
        let (width, parts) = (NV * S::LANES, E::parts::<S>());
        prefetch(self.ahead.line.wrapping_add(k * self.ahead.stride), Near::Second);
        // SAFETY: the panel has `depth · width` elements, and k < depth.
        let weights = unsafe { self.panel.get_unchecked(k * width..(k + 1) * width) };
        for part in (0..parts).rev() {
            let mut w = [E::load(s, weights, part); NV];
            for v in 1..NV {
                w[v] = E::load(s, &weights[v * S::LANES..], part);
            }
            for r in 0..MR {
                // SAFETY: each row has `depth · parts` words, k < depth and part < parts. A check that the compiler
                // fails to remove would spill every accumulator at each step.
                let x = E::splat(s, unsafe { *self.rows[r].get_unchecked(k * parts + part) });
                for v in 0..NV {
                    sums[r][v] = E::multiply_add(s, x, w[v], sums[r][v]);
                }
            }
        }
    }
}

impl<S: Simd, E: Element, const MR: usize, const NV: usize> Routine<S> for Tile<'_, S, E, MR, NV> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
    fn run_at(self, s: S) {
        let depth = self.panel.len() / (NV * S::LANES);
        for row in self.rows {
            assert!(row.len() >= depth * E::parts::<S>());
        }
        let mut sums = [*self.start; MR];
        // Four steps at a time if a step has one part: fewer instructions. With more parts they would need too many
        // registers.
        let whole = if E::parts::<S>() == 1 { depth - depth % 4 } else { 0 };
        for k in (0..whole).step_by(4) {
            self.step(s, k, &mut sums);
            self.step(s, k + 1, &mut sums);
            self.step(s, k + 2, &mut sums);
            self.step(s, k + 3, &mut sums);
        }
        for k in whole..depth {
            self.step(s, k, &mut sums);
        }
        for r in 0..MR {
            for v in 0..NV {
                self.sums[r][v] = sums[r][v];
            }
        }
    }
}
