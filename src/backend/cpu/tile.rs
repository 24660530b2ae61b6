//! The register tile: the one inner loop of every matrix product on the CPU.
//!
//! `MR` rows times `NV` vectors of columns are accumulated in registers over the whole depth. A step reads `NV`
//! vectors of the panel (unit stride) and one word of each row, and does `MR·NV` fused multiply-adds, or as many dot
//! products of bf16 pairs or of four 8-bit integers; where the level lacks those, in two parts with a word each. It also
//! fetches a line of what follows the panel's rows, whose way from memory would else be waited for.
//! Levels: AVX-512 6×64 (24 accumulators of 32 registers), AVX2 6×16 (12 of 16), portable 3×16.

use super::panel::{Element, PanelRows};
use super::simd::{Simd, prefetch};

/// The most rows of any level's tile.
const MAX_ROWS: usize = 6;

/// The left-hand rows of one tile, all of the panel's depth.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, W = f32> {
    rows: [&'a [W]; MAX_ROWS],
    count: usize,
}

impl<'a, W> Rows<'a, W> {
    /// Row `i` is `row(i)`, for `i` in `0 .. count`.
    #[inline(always)]
    pub(super) fn new(count: usize, row: impl Fn(usize) -> &'a [W]) -> Self {
        let mut rows: [&[W]; MAX_ROWS] = [&[]; MAX_ROWS];
        for (i, to) in rows.iter_mut().enumerate().take(count) {
            *to = row(i);
        }
        Self { rows, count }
    }
}

/// What a tile starts from and where its sums go.
pub(super) trait Epilogue<S: Simd, T = <S as Simd>::F> {
    /// The accumulators' first value for vector `vector` of row `row` of the tile.
    fn start(&mut self, row: usize, vector: usize) -> T;
    /// Takes the finished sum.
    fn finish(&mut self, row: usize, vector: usize, sum: T);
}

/// `epilogue.finish(epilogue.start() + rows · panel)` for the number of rows at hand, so that a row tail wastes nothing.
#[inline(always)]
pub(super) fn tile<S: Simd, E: Element>(
    s: S,
    rows: Rows<'_, E::Word>,
    panel: PanelRows<'_, E>,
    epilogue: &mut impl Epilogue<S, E::Sum<S>>,
) {
    // `TILE_VECTORS` is a constant of the level: the arms of other levels are never built.
    match (S::TILE_VECTORS, rows.count) {
        (4, 6) => fixed::<S, E, _, 6, 4>(s, rows, panel, epilogue),
        (4, 5) => fixed::<S, E, _, 5, 4>(s, rows, panel, epilogue),
        (4, 4) => fixed::<S, E, _, 4, 4>(s, rows, panel, epilogue),
        (4, 3) => fixed::<S, E, _, 3, 4>(s, rows, panel, epilogue),
        (4, 2) => fixed::<S, E, _, 2, 4>(s, rows, panel, epilogue),
        (4, 1) => fixed::<S, E, _, 1, 4>(s, rows, panel, epilogue),
        (2, 6) => fixed::<S, E, _, 6, 2>(s, rows, panel, epilogue),
        (2, 5) => fixed::<S, E, _, 5, 2>(s, rows, panel, epilogue),
        (2, 4) => fixed::<S, E, _, 4, 2>(s, rows, panel, epilogue),
        (2, 3) => fixed::<S, E, _, 3, 2>(s, rows, panel, epilogue),
        (2, 2) => fixed::<S, E, _, 2, 2>(s, rows, panel, epilogue),
        (2, 1) => fixed::<S, E, _, 1, 2>(s, rows, panel, epilogue),
        (vectors, rows) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
    }
}

/// The tile of `MR` rows by `NV` vectors.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
fn fixed<S: Simd, E: Element, I: Epilogue<S, E::Sum<S>>, const MR: usize, const NV: usize>(
    s: S,
    rows: Rows<'_, E::Word>,
    panel: PanelRows<'_, E>,
    epilogue: &mut I,
) {
    let mut sums = [[epilogue.start(0, 0); NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            sums[r][v] = epilogue.start(r, v);
        }
    }
    let sums = accumulate(s, rows, panel, sums);
    for r in 0..MR {
        for v in 0..NV {
            epilogue.finish(r, v, sums[r][v]);
        }
    }
}

/// `sums + rows · panel`. The accumulators are an array of their own: one that is shared with the epilogue is in memory
/// where the epilogue's loops are too large to be unrolled, and each step would store it (`scripts/spills` looks).
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "the indices are the tile's")]
fn accumulate<S: Simd, E: Element, const MR: usize, const NV: usize>(
    s: S,
    rows: Rows<'_, E::Word>,
    PanelRows { rows: panel, next }: PanelRows<'_, E>,
    sums: [[E::Sum<S>; NV]; MR],
) -> [[E::Sum<S>; NV]; MR] {
    let width = NV * S::LANES;
    let depth = panel.len() / width;
    let parts = E::parts::<S>();
    let share = next.len().div_ceil(depth.max(1));
    // Loops, not closures: those may stay outside the level's wrapper (see `math::Elementwise`).
    let mut left: [&[E::Word]; MR] = [&[]; MR];
    for r in 0..MR {
        left[r] = &rows.rows[r][..depth * parts];
    }
    let mut accumulators = sums;
    for k in 0..depth {
        // SAFETY: k < depth, and the panel has at least `depth · width` elements. Not `chunks_exact`: where its iterator
        // is not inlined, neither are the accumulators in registers.
        let weights = unsafe { panel.get_unchecked(k * width..(k + 1) * width) };
        prefetch(next.as_ptr().wrapping_add(k * share));
        for part in (0..parts).rev() {
            let mut w = [E::load(s, weights, part); NV];
            for v in 1..NV {
                w[v] = E::load(s, &weights[v * S::LANES..], part);
            }
            for r in 0..MR {
                // SAFETY: k < depth and part < parts, and each row was cut to `depth · parts` words above. A check that
                // the compiler fails to remove would spill every accumulator at each step.
                let x = E::splat(s, unsafe { *left[r].get_unchecked(k * parts + part) });
                for v in 0..NV {
                    accumulators[r][v] = E::multiply_add(s, x, w[v], accumulators[r][v]);
                }
            }
        }
    }
    accumulators
}
