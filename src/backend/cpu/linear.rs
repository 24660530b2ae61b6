//! `linear`: matrix product with an epilogue.
//!
//! Each task owns a block of rows by a group of panels. It walks panel by panel, block of depth by block of depth: a
//! panel's block (`DEPTH_BLOCK × 64 × 4` bytes) stays in the second-level cache while the tiles of the row block pass
//! over it, and each of them prefetches a share of the next block. Between blocks of depth the partial sums are kept in
//! `out`, so every element is summed in one order.
//!
//! ```text
//!      input                 panels               out
//! ┌───────┬───────┐     ┌─────┬─────┐        ┌─────┬─────┐
//! │ block │ next  │     │block│     │        │tiles│     │  row block
//! ├───────┼───────┤  ×  ├─────┼─────┤   →    ├─────┼─────┤
//! │       │       │     │next │     │        │     │     │
//! └───────┴───────┘     └─────┴─────┘        └─────┴─────┘
//!       depth
//! ```

use super::Cpu;
use super::grid::{TileMut, cuts, for_each_tile};
use super::math::activate;
use super::packed_weights::{CpuLinear, Left, Rounded};
use super::simd::{Near, Simd, SimdTask, Tiling, prefetch_lines};
use super::tile::TileSink;
use crate::backend::args::{Checked, LinearArgs};
use crate::backend::{Activation, Epilogue, Shape, Shaped};
use crate::error::Result;
use std::ops::Range;

pub(super) fn run(cpu: &Cpu, args: Checked<LinearArgs<'_, Cpu>>) -> Result<()> {
    let LinearArgs { input, layer, epilogue, out } = args.into_inner();
    let shape = out.shape();
    let (row_cuts, col_cuts) = partition(shape, layer.tiling, cpu.threads());
    cpu.install(|| {
        let mut rounded = Rounded::default();
        // Rows that several column groups share are rounded once, beforehand.
        let whole = (col_cuts.len() > 2).then(|| layer.whole_left(input, &mut rounded));
        for_each_tile(out.data_mut(), shape.cols, &row_cuts, &col_cuts, Rounded::default, |scratch, _, _, tile| {
            let left = whole.unwrap_or_else(|| layer.left(input, tile.rows.clone(), scratch));
            layer.level.dispatch(Block { left, layer, epilogue, tile });
        });
    });
    Ok(())
}

/// Where `out` is cut into tasks: by rows, and by panels too where the rows alone would leave threads idle.
fn partition(out: Shape, tiling: Tiling, threads: usize) -> (Vec<usize>, Vec<usize>) {
    /// Tasks for each thread, so that an uneven last one costs little.
    const TASKS_PER_THREAD: usize = 4;
    let Tiling { panel_width, tile_rows, row_block, .. } = tiling;
    // Every thread gets the same number of blocks, of similar size, so that none finishes late.
    let blocks = ((out.rows + row_block / 2) / row_block).max(1);
    let rounds = (blocks + (threads - 1) / 2) / threads;
    let blocks = if rounds > 0 { rounds * threads } else { blocks };
    let tiles = out.rows.div_ceil(tile_rows);
    let mut row_cuts: Vec<usize> = (0..=blocks).map(|i| (i * tiles / blocks * tile_rows).min(out.rows)).collect();
    row_cuts.dedup();
    let panels = out.cols.div_ceil(panel_width);
    let groups = if threads == 1 { 1 } else { (TASKS_PER_THREAD * threads).div_ceil(blocks).min(panels) };
    (row_cuts, cuts(out.cols, panels.div_ceil(groups) * panel_width))
}

/// One task of `linear`.
struct Block<'a> {
    left: Left<'a>,
    layer: &'a CpuLinear,
    epilogue: Epilogue,
    tile: TileMut<'a>,
}

impl SimdTask for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { left, layer, epilogue, mut tile } = self;
        let width = S::TILE_VECTORS * S::LANES;
        let (rows, cols) = (tile.rows.clone(), tile.cols.clone());
        let depth = layer.shape().cols;
        let step = layer.depth_step();
        for panel in cols.start / width..cols.end.div_ceil(width) {
            let column = panel * width - cols.start;
            for from in (0..depth).step_by(step) {
                let to = depth.min(from + step);
                let mut sink = Sink {
                    s,
                    columns: column..cols.len().min(column + width),
                    bias: (from == 0).then_some(&layer.bias[panel * width..][..width]),
                    resume: from > 0 || epilogue == Epilogue::Accumulate,
                    activation: match epilogue {
                        Epilogue::Activate(activation) if to == depth => Some(activation),
                        _ => None,
                    },
                    tile: &mut tile,
                };
                layer.multiply(s, left, rows.clone(), panel, from..to, &mut sink);
            }
        }
    }
}

/// The epilogue: starts sums from the bias, adds the partial sum or the residual, activates and stores them.
struct Sink<'a, 'b, S> {
    s: S,
    tile: &'a mut TileMut<'b>,
    /// The panel's columns in the tile.
    columns: Range<usize>,
    bias: Option<&'a [f32]>,
    resume: bool,
    activation: Option<Activation>,
}

impl<S: Simd> Sink<'_, '_, S> {
    /// The panel's elements in a row: fewer than its width at the last columns.
    #[inline(always)]
    fn elements(&mut self, row: usize) -> &mut [f32] {
        let row = self.tile.rows.start + row;
        &mut self.tile.row(row)[self.columns.clone()]
    }
}

impl<S: Simd> TileSink<S> for Sink<'_, '_, S> {
    #[inline(always)]
    fn start<const NV: usize>(&self, zero: [S::F; NV]) -> [S::F; NV] {
        match self.bias {
            Some(bias) => self.s.load_row(bias),
            None => zero,
        }
    }

    #[inline(always)]
    fn prepare(&mut self, rows: Range<usize>) {
        for row in rows {
            let elements = self.elements(row);
            prefetch_lines(elements.as_ptr(), elements.len(), Near::First);
        }
    }

    #[inline(always)]
    fn finish<const NV: usize>(&mut self, row: usize, mut sums: [S::F; NV]) {
        let s = self.s;
        if self.resume {
            let before: [S::F; NV] = s.load_row(self.elements(row));
            for v in 0..NV {
                sums[v] = s.add(before[v], sums[v]);
            }
        }
        if let Some(activation) = self.activation {
            for sum in &mut sums {
                *sum = activate(s, activation, *sum);
            }
        }
        s.store_row(sums, self.elements(row));
    }
}
