//! `attention`: softmax(q kᵀ / √d) v, one sequence and one head at a time.
//!
//! A task packs the head's keys and values as panels (a sequence's take 13–150 KB: cache), then takes the queries
//! a register tile at a time: a row of scores, its softmax and its product with the values never leave the cache.

use super::Cpu;
use super::grid::{TileMut, cuts, for_each_tile};
use super::math::softmax_numerators;
use super::panel::{Panels, Turn};
use super::simd::{Kernel, Simd};
use super::tile::{self, Epilogue, Rows};
use crate::backend::{HostTensor, Shaped, contract};
use crate::error::Result;
use std::ops::Range;

#[expect(clippy::too_many_arguments, reason = "the contract's parameters")]
pub(super) fn run(
    cpu: &Cpu,
    queries: &HostTensor,
    keys_values: &HostTensor,
    query_offsets: &[u32],
    key_offsets: &[u32],
    heads: usize,
    causal: bool,
    out: &mut HostTensor,
) -> Result<()> {
    contract::attention(queries.shape(), keys_values.shape(), query_offsets, key_offsets, heads, out.shape())?;
    let width = queries.shape().cols;
    let row_cuts: Vec<usize> = query_offsets.iter().map(|&row| row as usize).collect();
    let col_cuts = cuts(width, width / heads);
    cpu.install(|| {
        for_each_tile(out.data_mut(), width, &row_cuts, &col_cuts, Scratch::default, |scratch, sequence, _, tile| {
            let keys = key_offsets[sequence] as usize..key_offsets[sequence + 1] as usize;
            cpu.level.dispatch(Head { queries, keys_values, keys, causal, scratch, tile });
        });
    });
    Ok(())
}

/// What a thread keeps between heads.
#[derive(Default)]
struct Scratch {
    keys: Panels<f32>,
    values: Panels<f32>,
    /// One row of scores for each row of the tile.
    scores: Vec<f32>,
}

/// One task: one head of one sequence.
struct Head<'a> {
    queries: &'a HostTensor,
    keys_values: &'a HostTensor,
    keys: Range<usize>,
    causal: bool,
    scratch: &'a mut Scratch,
    tile: TileMut<'a>,
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { queries, keys_values, keys, causal, scratch, mut tile } = self;
        let Scratch { keys: key_panels, values: value_panels, scores } = scratch;
        let panel_width = S::TILE_VECTORS * S::LANES;
        let (rows, cols) = (tile.rows.clone(), tile.cols.clone());
        let (dim, width) = (cols.len(), queries.shape().cols);
        let scale = 1.0 / (dim as f32).sqrt();

        let key = |i: usize| &keys_values.row(keys.start + i)[cols.clone()];
        let value = |i: usize| &keys_values.row(keys.start + i)[width + cols.start..width + cols.end];
        key_panels.pack_columns(s, panel_width, dim, keys.len(), key);
        value_panels.pack_rows(s, panel_width, keys.len(), dim, value);
        let padded = keys.len().next_multiple_of(panel_width);
        scores.clear();
        scores.resize(S::TILE_ROWS * padded, 0.0);

        for row in rows.clone().step_by(S::TILE_ROWS) {
            let turn = Turn::of::<S>(row, &rows);
            let count = turn.rows().len();
            let left = Rows::new(count, |r| &queries.row(row + r)[cols.clone()]);
            for panel in 0..padded / panel_width {
                let column = panel * panel_width;
                tile::tile(s, left, key_panels.rows(panel, 0..dim, turn), &mut Scores { s, scores, padded, column });
            }
            let seen = |r: usize| keys.len() - if causal { rows.end - 1 - (row + r) } else { 0 };
            let mut norms = [0.0; 6];
            for (r, norm) in norms[..count].iter_mut().enumerate() {
                let (row, seen) = (&mut scores[r * padded..][..padded], seen(r));
                // Whole vectors: beside the largest score's 1, what the last one has too many is lost in rounding.
                let whole = seen.next_multiple_of(S::LANES);
                row[seen..whole].fill(f32::NEG_INFINITY);
                *norm = 1.0 / softmax_numerators(s, &mut row[..whole], scale);
                row[seen..keys.len()].fill(0.0);
            }
            let weights = Rows::new(count, |r| &scores[r * padded..][..keys.len()]);
            for panel in 0..dim.div_ceil(panel_width) {
                let mut output = Output { s, tile: &mut tile, row, column: panel * panel_width, norms };
                tile::tile(s, weights, value_panels.rows(panel, 0..keys.len(), turn), &mut output);
            }
        }
    }
}

/// Stores a tile's products as rows of scores.
struct Scores<'a, S> {
    s: S,
    scores: &'a mut [f32],
    padded: usize,
    column: usize,
}

impl<S: Simd> Epilogue<S> for Scores<'_, S> {
    #[inline(always)]
    fn start(&mut self, _row: usize, _vector: usize) -> S::F {
        self.s.splat(0.0)
    }

    #[inline(always)]
    fn finish(&mut self, row: usize, vector: usize, sum: S::F) {
        self.s.store(sum, &mut self.scores[row * self.padded + self.column + vector * S::LANES..]);
    }
}

/// Divides by the softmax's denominator and stores.
struct Output<'a, 'b, S> {
    s: S,
    tile: &'a mut TileMut<'b>,
    row: usize,
    column: usize,
    norms: [f32; 6],
}

impl<S: Simd> Epilogue<S> for Output<'_, '_, S> {
    #[inline(always)]
    fn start(&mut self, _row: usize, _vector: usize) -> S::F {
        self.s.splat(0.0)
    }

    #[inline(always)]
    fn finish(&mut self, row: usize, vector: usize, sum: S::F) {
        let sum = self.s.mul(sum, self.s.splat(self.norms[row]));
        let out = self.tile.row(self.row + row);
        let start = out.len().min(self.column + vector * S::LANES);
        let end = out.len().min(start + S::LANES);
        match &mut out[start..end] {
            whole if whole.len() == S::LANES => self.s.store(sum, whole),
            head => self.s.store_head(sum, head),
        }
    }
}
