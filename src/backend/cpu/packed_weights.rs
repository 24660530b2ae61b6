//! Weights packed for the matrix product, in each precision, and their product with rows.
//!
//! A layer's weights `W`, `[outputs, inputs]`, become panels (module `panel`) of the transposed matrix. An element of a
//! panel is what a step of the register tile takes of a column: an f32, an f16, two bf16 or four int8 that are
//! neighbours in depth. Where the level lacks the dot product of such groups, a step has two parts, and a vector of
//! elements holds the first halves of all its columns before the second ones. With bf16 and inputs 0 and 1:
//!
//! ```text
//! one part    W₀₀ W₀₁  W₁₀ W₁₁  W₂₀ W₂₁ …     vdpbf16ps multiplies the pairs
//! two parts   W₀₀ W₁₀ W₂₀ …  W₀₁ W₁₁ W₂₁ …    each part is loaded and widened by itself
//! ```
//!
//! The input's rows are rounded to the same groups before they are multiplied.

use super::SimdLevel;
use super::panel::Panels;
use super::rounded::{self, halves};
use super::rows::Rows;
use super::simd::{Bf16x2, I8x4, Simd, SimdTask, Tiling};
use super::tile::{TileSink, multiply};
use crate::backend::quantize::Scale;
use crate::backend::{HostTensor, Precision, Shape, Shaped};
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// Most inputs that are multiplied in one go, so that a panel's rows stay in the cache; for bf16 twice as many, of half
/// the size.
const DEPTH_BLOCK: usize = 768;

/// Input rows that one task rounds.
const ROUNDED_ROWS: usize = 12;

/// Weights in panels for the register tile of one [`SimdLevel`].
#[derive(Clone, Debug)]
pub struct CpuLinear {
    shape: Shape,
    /// The level whose tile the panels are packed for.
    pub(super) level: SimdLevel,
    pub(super) tiling: Tiling,
    panels: Storage,
    /// Padded with zeros to whole panels.
    pub(super) bias: Vec<f32>,
}

#[derive(Clone, Debug)]
enum Storage {
    F32(Panels<f32>),
    F16(Panels<f16>),
    Bf16(Panels<Bf16x2>),
    /// `units`: the value of the integer 1 in each column. `corrections`: minus the left-hand offset times the column's
    /// sum, which cancels that offset.
    Int8 {
        panels: Panels<I8x4>,
        units: Vec<f32>,
        corrections: Vec<i32>,
    },
}

/// Rows that were rounded for a layer in bf16 or int8.
#[derive(Debug, Default)]
pub(super) struct Rounded {
    words: Vec<i32>,
    /// The value of the integer 1 in each row.
    units: Vec<f32>,
}

impl Rounded {
    /// Resizes for `rows` rows of `width` words, and returns the words and the units.
    fn resize(&mut self, rows: usize, width: usize) -> (&mut [i32], &mut [f32]) {
        self.words.resize(rows * width, 0);
        self.units.resize(rows, 0.0);
        (&mut self.words, &mut self.units)
    }
}

/// The left operand of a layer's product: a matrix in f32, and some of its rows as the layer rounds them.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    input: &'a HostTensor,
    /// The matrix row that `rounded` begins with.
    first: usize,
    rounded: &'a Rounded,
}

impl CpuLinear {
    pub(super) fn new(
        level: SimdLevel,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        precision: Precision,
    ) -> Self {
        let tiling = level.tiling();
        let Tiling { panel_width: width, lanes, pair_parts, quad_parts, .. } = tiling;
        let (depth, columns) = (shape.cols, shape.rows);
        let padded = columns.next_multiple_of(width);
        let at = |k: usize, n: usize| if k < depth && n < columns { weight[n * depth + k] } else { 0.0 };
        let panels = match precision {
            Precision::F32 => Storage::F32(Panels::new(width, depth, padded, at)),
            Precision::F16 => Storage::F16(Panels::new(width, depth, padded, |k, n| f16::from_f32(at(k, n)))),
            Precision::Bf16 => {
                let half = |k: usize, n: usize| rounded::round(at(k, n)).to_ne_bytes();
                let pair = |k: usize, n: usize| halves(n, lanes, pair_parts, |n, i| half(2 * k + i, n));
                Storage::Bf16(Panels::new(width, depth.div_ceil(2), padded, |k, n| Bf16x2(pair(k, n))))
            }
            Precision::Int8 => {
                let scales: Vec<Scale> = weight.chunks_exact(depth).map(Scale::of).collect();
                let rows = weight.chunks_exact(depth).zip(&scales);
                let quantized: Vec<i8> = rows.flat_map(|(row, scale)| row.iter().map(|&w| scale.quantize(w))).collect();
                let at = |k: usize, n: usize| if k < depth && n < columns { quantized[n * depth + k] } else { 0 };
                let half = |k: usize, n: usize| [at(k, n), at(k + 1, n)].map(|q| q as u8);
                let quad = |k: usize, n: usize| halves(n, lanes, quad_parts, |n, i| half(4 * k + 2 * i, n));
                let sums = quantized.chunks_exact(depth).map(|row| row.iter().map(|&q| i32::from(q)).sum::<i32>());
                let mut corrections: Vec<i32> = sums.map(|sum| -I8x4::offset(quad_parts) * sum).collect();
                let mut units: Vec<f32> = scales.iter().map(|scale| scale.unit).collect();
                units.resize(padded, 0.0);
                corrections.resize(padded, 0);
                let panels = Panels::new(width, depth.div_ceil(4), padded, |k, n| I8x4(quad(k, n)));
                Storage::Int8 { panels, units, corrections }
            }
        };
        let mut bias = bias.map_or_else(Vec::new, <[f32]>::to_vec);
        bias.resize(padded, 0.0);
        Self { shape, level, tiling, panels, bias }
    }

    /// Words of a row that [`CpuLinear::left`] rounded.
    #[inline(always)]
    fn row_words(&self) -> usize {
        match self.panels {
            Storage::F32(_) | Storage::F16(_) => 0,
            Storage::Bf16(_) => self.shape.cols.div_ceil(2) * self.tiling.pair_parts,
            Storage::Int8 { .. } => self.shape.cols.div_ceil(4) * self.tiling.quad_parts,
        }
    }

    /// `rows` of a matrix for [`CpuLinear::multiply`], rounded into `scratch` where the layer is in bf16 or int8.
    pub(super) fn left<'a>(&self, input: &'a HostTensor, rows: Range<usize>, scratch: &'a mut Rounded) -> Left<'a> {
        let first = rows.start;
        let (words, units) = scratch.resize(rows.len(), self.row_words());
        if !words.is_empty() {
            self.level.dispatch(Round { layer: self, input, rows, words, units });
        }
        Left { input, first, rounded: scratch }
    }

    /// As [`CpuLinear::left`] for all rows of a matrix, rounded by all threads of the current pool.
    pub(super) fn whole_left<'a>(&self, input: &'a HostTensor, scratch: &'a mut Rounded) -> Left<'a> {
        let (rows, width) = (input.shape().rows, self.row_words());
        let (words, units) = scratch.resize(rows, width);
        if !words.is_empty() {
            let parts = words.par_chunks_mut(ROUNDED_ROWS * width).zip(units.par_chunks_mut(ROUNDED_ROWS));
            parts.enumerate().for_each(|(i, (words, units))| {
                let rows = i * ROUNDED_ROWS..i * ROUNDED_ROWS + units.len();
                self.level.dispatch(Round { layer: self, input, rows, words, units });
            });
        }
        Left { input, first: 0, rounded: scratch }
    }

    /// How many inputs are multiplied in one go: an even number, or for int8 all of them, since its sums are scaled
    /// only once.
    pub(super) fn depth_step(&self) -> usize {
        let depth = self.shape.cols;
        let step = |most: usize| depth.div_ceil(depth.div_ceil(most)).next_multiple_of(2);
        match self.panels {
            Storage::Int8 { .. } => depth,
            Storage::Bf16(_) => step(2 * DEPTH_BLOCK),
            Storage::F32(_) | Storage::F16(_) => step(DEPTH_BLOCK),
        }
    }

    /// Multiplies rows by one panel; `depth` begins at an even index.
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(
        &self,
        s: S,
        left: Left<'_>,
        rows: Range<usize>,
        panel: usize,
        depth: Range<usize>,
        epilogue: &mut impl TileSink<S>,
    ) {
        let (count, cols, words) = (rows.len(), self.shape.cols, self.row_words());
        let whole = &left.input.data()[rows.start * cols + depth.start..];
        let whole = Rows { data: whole, stride: cols, count };
        let first = rows.start - left.first;
        let rounded = |from: usize| Rows { data: &left.rounded.words[first * words + from..], stride: words, count };
        match &self.panels {
            Storage::F32(panels) => multiply(s, whole, panels.rows(panel, depth), epilogue),
            Storage::F16(panels) => multiply(s, whole, panels.rows(panel, depth), epilogue),
            Storage::Bf16(panels) => {
                let depth = depth.start / 2..depth.end.div_ceil(2);
                multiply(s, rounded(depth.start * S::PAIR_PARTS), panels.rows(panel, depth), epilogue);
            }
            Storage::Int8 { panels, units, corrections } => {
                debug_assert_eq!(depth, 0..cols, "integers are scaled once");
                let column = panel * S::TILE_VECTORS * S::LANES;
                let mut scaled = Scaled {
                    s,
                    row_units: &left.rounded.units[first..],
                    units: &units[column..],
                    corrections: &corrections[column..],
                    epilogue,
                };
                multiply(s, rounded(0), panels.rows(panel, 0..cols.div_ceil(4)), &mut scaled);
            }
        }
    }
}

impl Shaped for CpuLinear {
    fn shape(&self) -> Shape {
        self.shape
    }
}

/// Rounds rows for a layer in bf16 or int8.
struct Round<'a> {
    layer: &'a CpuLinear,
    input: &'a HostTensor,
    rows: Range<usize>,
    words: &'a mut [i32],
    units: &'a mut [f32],
}

impl SimdTask for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { layer, input, rows, words, units } = self;
        for ((row, words), unit) in rows.zip(words.chunks_exact_mut(layer.row_words())).zip(units) {
            match layer.panels {
                Storage::Bf16(_) => Bf16x2::round_row::<S>(input.row(row), words),
                _ => *unit = I8x4::round_row::<S>(input.row(row), words),
            }
        }
    }
}

/// Scales the integer sums of int8 to f32 and passes them on to `epilogue`.
struct Scaled<'a, S, I> {
    s: S,
    row_units: &'a [f32],
    units: &'a [f32],
    corrections: &'a [i32],
    epilogue: &'a mut I,
}

impl<S: Simd, I: TileSink<S>> TileSink<S, S::I> for Scaled<'_, S, I> {
    #[inline(always)]
    fn start<const NV: usize>(&self, mut sums: [S::I; NV]) -> [S::I; NV] {
        for (v, sum) in sums.iter_mut().enumerate() {
            *sum = self.s.load_i32(&self.corrections[v * S::LANES..]);
        }
        sums
    }

    #[inline(always)]
    fn finish<const NV: usize>(&mut self, row: usize, sums: [S::I; NV]) {
        let s = self.s;
        let row_unit = s.splat(self.row_units[row]);
        let mut scaled: [S::F; NV] = self.epilogue.start([s.splat(0.0); NV]);
        for v in 0..NV {
            let unit = s.mul(row_unit, s.load(&self.units[v * S::LANES..]));
            scaled[v] = s.mul_add(s.to_float(sums[v]), unit, scaled[v]);
        }
        self.epilogue.finish(row, scaled);
    }

    #[inline(always)]
    fn prepare(&mut self, rows: Range<usize>) {
        self.epilogue.prepare(rows);
    }
}
