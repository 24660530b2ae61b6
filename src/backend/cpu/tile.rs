//! The register tile: the one inner loop of every matrix product on the CPU.
//!
//! `MR` rows times `NV` vectors of columns are accumulated in registers over the whole depth. A step reads `NV`
//! vectors of the panel (unit stride) and one word of each row, and does `MR·NV` fused multiply-adds, or as many dot
//! products of bf16 pairs or of four 8-bit integers; where the level lacks those, in two parts with a word each. It also
//! fetches a line of what follows the panel's rows, whose way from memory would else be waited for.
//! Levels: AVX-512 6×64 (24 accumulators of 32 registers), AVX2 6×16 (12 of 16), portable 3×16.

use super::panel::{Element, PanelRows};
use super::rows::Rows;
use super::simd::{Simd, prefetch};
use std::hint::black_box;
use std::ops::Range;

/// What the products start from and where they go. A row is one of the left-hand ones, a vector one of the panel's.
pub(super) trait Epilogue<S: Simd, T = <S as Simd>::F> {
    /// The accumulators' first value.
    fn start(&mut self, row: usize, vector: usize) -> T;
    /// Takes the finished sum.
    fn finish(&mut self, row: usize, vector: usize, sum: T);
    /// Comes after a tile's last sum.
    #[inline(always)]
    fn end(&mut self, _rows: Range<usize>) {}
}

/// What a tile fetches: a place for its first step, and the way to the next step's.
struct Ahead<E> {
    line: *const E,
    stride: usize,
}

/// `start + left · panel` for each row and vector, tile by tile. The last tile has the number of rows at hand, so that
/// it wastes nothing.
#[inline(always)]
pub(super) fn multiply<S: Simd, E: Element>(
    s: S,
    left: Rows<'_, E::Word>,
    panel: PanelRows<'_, E>,
    epilogue: &mut impl Epilogue<S, E::Sum<S>>,
) {
    let depth = panel.rows.len() / (S::TILE_VECTORS * S::LANES);
    let steps = left.count.div_ceil(S::TILE_ROWS) * depth;
    // Opaque, or the compiler may divide again at each step.
    let stride = black_box(panel.next.len().div_ceil(steps.max(1)));
    let mut line = panel.next.as_ptr();
    for row in (0..left.count).step_by(S::TILE_ROWS) {
        let rows = row..left.count.min(row + S::TILE_ROWS);
        let ahead = Ahead { line, stride };
        // `TILE_VECTORS` is a constant of the level: the arms of other levels are never built.
        match (S::TILE_VECTORS, rows.len()) {
            (4, 6) => fixed::<S, E, _, 6, 4>(s, left, row, panel.rows, ahead, epilogue),
            (4, 5) => fixed::<S, E, _, 5, 4>(s, left, row, panel.rows, ahead, epilogue),
            (4, 4) => fixed::<S, E, _, 4, 4>(s, left, row, panel.rows, ahead, epilogue),
            (4, 3) => fixed::<S, E, _, 3, 4>(s, left, row, panel.rows, ahead, epilogue),
            (4, 2) => fixed::<S, E, _, 2, 4>(s, left, row, panel.rows, ahead, epilogue),
            (4, 1) => fixed::<S, E, _, 1, 4>(s, left, row, panel.rows, ahead, epilogue),
            (2, 6) => fixed::<S, E, _, 6, 2>(s, left, row, panel.rows, ahead, epilogue),
            (2, 5) => fixed::<S, E, _, 5, 2>(s, left, row, panel.rows, ahead, epilogue),
            (2, 4) => fixed::<S, E, _, 4, 2>(s, left, row, panel.rows, ahead, epilogue),
            (2, 3) => fixed::<S, E, _, 3, 2>(s, left, row, panel.rows, ahead, epilogue),
            (2, 2) => fixed::<S, E, _, 2, 2>(s, left, row, panel.rows, ahead, epilogue),
            (2, 1) => fixed::<S, E, _, 1, 2>(s, left, row, panel.rows, ahead, epilogue),
            (vectors, rows) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
        }
        epilogue.end(rows);
        line = line.wrapping_add(depth * stride);
    }
}

/// The tile of `MR` rows from `row` on by `NV` vectors.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
fn fixed<S: Simd, E: Element, I: Epilogue<S, E::Sum<S>>, const MR: usize, const NV: usize>(
    s: S,
    left: Rows<'_, E::Word>,
    row: usize,
    panel: &[E],
    ahead: Ahead<E>,
    epilogue: &mut I,
) {
    let words = panel.len() / (NV * S::LANES) * E::parts::<S>();
    // Loops, not closures: those may stay outside the level's wrapper (see `math::Elementwise`).
    let mut rows: [&[E::Word]; MR] = [&[]; MR];
    let mut sums = [[epilogue.start(row, 0); NV]; MR];
    for r in 0..MR {
        rows[r] = left.row(row + r, words);
        for v in 0..NV {
            sums[r][v] = epilogue.start(row + r, v);
        }
    }
    let sums = accumulate(s, rows, panel, ahead, sums);
    for r in 0..MR {
        for v in 0..NV {
            epilogue.finish(row + r, v, sums[r][v]);
        }
    }
}

/// `sums + rows · panel`. The accumulators are an array of their own: one that is shared with the epilogue is in memory
/// where the epilogue's loops are too large to be unrolled, and each step would store it (`scripts/spills` looks).
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
fn accumulate<S: Simd, E: Element, const MR: usize, const NV: usize>(
    s: S,
    rows: [&[E::Word]; MR],
    panel: &[E],
    ahead: Ahead<E>,
    sums: [[E::Sum<S>; NV]; MR],
) -> [[E::Sum<S>; NV]; MR] {
    let width = NV * S::LANES;
    let depth = panel.len() / width;
    let parts = E::parts::<S>();
    for r in 0..MR {
        assert!(rows[r].len() >= depth * parts);
    }
    let mut accumulators = sums;
    for k in 0..depth {
        // SAFETY: k < depth, and the panel has at least `depth · width` elements. Not `chunks_exact`: where its iterator
        // is not inlined, neither are the accumulators in registers.
        let weights = unsafe { panel.get_unchecked(k * width..(k + 1) * width) };
        prefetch(ahead.line.wrapping_add(k * ahead.stride));
        for part in (0..parts).rev() {
            let mut w = [E::load(s, weights, part); NV];
            for v in 1..NV {
                w[v] = E::load(s, &weights[v * S::LANES..], part);
            }
            for r in 0..MR {
                // SAFETY: k < depth and part < parts, and each row has `depth · parts` words. A check that the compiler
                // fails to remove would spill every accumulator at each step.
                let x = E::splat(s, unsafe { *rows[r].get_unchecked(k * parts + part) });
                for v in 0..NV {
                    accumulators[r][v] = E::multiply_add(s, x, w[v], accumulators[r][v]);
                }
            }
        }
    }
    accumulators
}
