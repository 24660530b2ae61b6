//! `attention`: softmax(q kᵀ / √d) v, one sequence and one head at a time.
//!
//! A task packs the head's keys and values as panels (13–150 KB for a sequence, which the cache holds), then takes the
//! queries a block at a time. A block's scores with all keys are kept, so that the softmax need not be online as it is
//! on GPUs; scores, softmax and the product with the values never leave the cache.
//!
//! ```text
//! queries         key panels         scores                      value panels      out
//! [block, d]   ·  [d, keys]    →     [block, keys]            ·  [keys, d]    →    [block, d]
//!                                    e^(scale · (s − max)), Σ                      ÷ Σ
//! ```

use super::Cpu;
use super::grid::{TileMut, cuts, for_each_tile};
use super::math::softmax_numerators;
use super::panel::Panels;
use super::rows::Rows;
use super::simd::{Near, Simd, SimdTask, prefetch_lines};
use super::tile::{Store, TileSink, multiply};
use crate::backend::args::{AttentionArgs, Checked};
use crate::backend::{HostTensor, Shaped};
use crate::error::Result;
use std::ops::Range;

/// About how many scores a task keeps at once: half of the first-level cache.
const SCORES: usize = 4096;

pub(super) fn run(cpu: &Cpu, args: Checked<AttentionArgs<'_, Cpu>>) -> Result<()> {
    let AttentionArgs { queries, keys_values, query_offsets, key_offsets, heads, causal, out } = args.into_inner();
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

/// Buffers that a thread reuses from head to head.
#[derive(Default)]
struct Scratch {
    keys: Panels<f32>,
    values: Panels<f32>,
    /// One row for each query of a block.
    scores: Vec<f32>,
    /// The softmax's denominators, inverted.
    norms: Vec<f32>,
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

impl SimdTask for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { queries, keys_values, keys, causal, scratch, mut tile } = self;
        let Scratch { keys: key_panels, values: value_panels, scores, norms } = scratch;
        let panel_width = S::TILE_VECTORS * S::LANES;
        let (rows, cols) = (tile.rows.clone(), tile.cols.clone());
        let (dim, width) = (cols.len(), queries.shape().cols);
        let scale = 1.0 / (dim as f32).sqrt();

        if keys.is_empty() {
            return; // then there are no queries either
        }
        let from = keys.start * 2 * width + cols.start;
        let rows_of = |data| Rows { data, stride: 2 * width, count: keys.len() };
        key_panels.pack_columns(s, panel_width, rows_of(&keys_values.data()[from..]), dim);
        value_panels.pack_rows(s, panel_width, rows_of(&keys_values.data()[from + width..]), dim);
        let padded = keys.len().next_multiple_of(panel_width);
        let block = (SCORES / padded / S::TILE_ROWS).max(1) * S::TILE_ROWS;
        scores.resize(block * padded, 0.0);

        for first in rows.clone().step_by(block) {
            let count = block.min(rows.end - first);
            let data = &queries.data()[first * width + cols.start..];
            for panel in 0..padded / panel_width {
                let mut sink = Store { s, rows: scores, stride: padded, column: panel * panel_width };
                multiply(s, Rows { data, stride: width, count }, key_panels.rows(panel, 0..dim), &mut sink);
            }
            norms.clear();
            for (row, scores) in (first..first + count).zip(scores.chunks_exact_mut(padded)) {
                let seen = keys.len() - if causal { rows.end - 1 - row } else { 0 };
                // Padded to whole vectors with −∞, whose exp vanishes beside the largest score's 1.
                let whole = seen.next_multiple_of(S::LANES);
                scores[seen..whole].fill(f32::NEG_INFINITY);
                // Prefetches the next head's query.
                prefetch_lines(queries.row(row)[cols.clone()].as_ptr_range().end, dim, Near::Second);
                norms.push(1.0 / softmax_numerators(s, &mut scores[..whole], scale));
                scores[seen..keys.len()].fill(0.0);
            }
            let weights = Rows { data: scores, stride: padded, count };
            for panel in 0..dim.div_ceil(panel_width) {
                let mut output = Output { s, tile: &mut tile, first, column: panel * panel_width, norms };
                multiply(s, weights, value_panels.rows(panel, 0..keys.len()), &mut output);
            }
        }
    }
}

/// Divides by the softmax's denominator and stores.
struct Output<'a, 'b, S> {
    s: S,
    tile: &'a mut TileMut<'b>,
    /// The block's first row.
    first: usize,
    column: usize,
    norms: &'a [f32],
}

impl<S: Simd> TileSink<S> for Output<'_, '_, S> {
    #[inline(always)]
    fn prepare(&mut self, rows: Range<usize>) {
        for row in rows {
            let row = &self.tile.row(self.first + row)[self.column..];
            prefetch_lines(row.as_ptr(), row.len(), Near::First);
        }
    }

    #[inline(always)]
    fn finish<const NV: usize>(&mut self, row: usize, mut sums: [S::F; NV]) {
        let s = self.s;
        let norm = s.splat(self.norms[row]);
        for sum in &mut sums {
            *sum = s.mul(*sum, norm);
        }
        s.store_row(sums, &mut self.tile.row(self.first + row)[self.column..]);
    }
}
