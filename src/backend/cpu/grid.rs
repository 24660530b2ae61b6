//! Parallel writes to one matrix: tasks own disjoint tiles of it.

use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// A tile of a matrix that one task may write.
pub(super) struct TileMut<'a> {
    base: Base,
    stride: usize,
    /// The tile's rows in the matrix.
    pub(super) rows: Range<usize>,
    /// The tile's columns in the matrix.
    pub(super) cols: Range<usize>,
    matrix: PhantomData<&'a mut [f32]>,
}

#[derive(Clone, Copy)]
struct Base(*mut f32);

// SAFETY: the pointer is only followed inside a tile, and tiles of one matrix are disjoint.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

impl TileMut<'_> {
    /// The tile's part of row `row` of the matrix.
    #[inline(always)]
    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row), "row {row} outside the tile");
        // SAFETY: `for_each_tile` checked that rows and columns lie in the matrix, and `&mut self` makes this the
        // only reference into this tile; no other tile has an element of it.
        unsafe { std::slice::from_raw_parts_mut(self.base.0.add(row * self.stride + self.cols.start), self.cols.len()) }
    }
}

/// Cuts `matrix`, of rows of `cols` elements, at ascending rows and columns (first 0, last the end) and runs
/// `task` on the tiles between the cuts, in parallel in the current pool; `init` makes a scratch for a run of tasks.
/// `task` gets the scratch, the indices of the row and the column segment, and the tile.
pub(super) fn for_each_tile<T>(
    matrix: &mut [f32],
    cols: usize,
    row_cuts: &[usize],
    col_cuts: &[usize],
    init: impl Fn() -> T + Sync + Send,
    task: impl Fn(&mut T, usize, usize, TileMut<'_>) + Sync + Send,
) {
    // Ascending cuts make the tiles disjoint; ends inside the matrix make them valid.
    assert!(row_cuts.is_sorted() && col_cuts.is_sorted());
    assert!(row_cuts.last().is_none_or(|&end| end * cols <= matrix.len()));
    assert!(col_cuts.last().is_none_or(|&end| end <= cols));
    let base = Base(matrix.as_mut_ptr());
    let (row_segments, col_segments) = (row_cuts.len().saturating_sub(1), col_cuts.len().saturating_sub(1));
    (0..row_segments * col_segments).into_par_iter().for_each_init(init, |scratch, i| {
        let (r, c) = (i / col_segments, i % col_segments);
        let tile = TileMut {
            base,
            stride: cols,
            rows: row_cuts[r]..row_cuts[r + 1],
            cols: col_cuts[c]..col_cuts[c + 1],
            matrix: PhantomData,
        };
        task(scratch, r, c, tile);
    });
}

/// Cuts `0 .. total` into segments of `step`.
pub(super) fn cuts(total: usize, step: usize) -> Vec<usize> {
    (0..total).step_by(step).chain([total]).collect()
}
