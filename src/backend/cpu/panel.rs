//! The right-hand matrix of a product, packed in panels for the register tile.
//!
//! A panel is as wide as the tile. Its rows follow each other in memory, so that the tile reads it front to back; with
//! panels of four columns, numbered by their place in memory:
//!
//! ```text
//!          panel 0         panel 1
//! depth    0  1  2  3     12 13 14 15
//!   ↓      4  5  6  7     16 17 18 19
//!          8  9 10 11     20 21 22 23
//! ```

use super::rows::Rows;
use super::simd::{Bf16x2, I8x4, Near, Simd, prefetch_lines};
use crate::backend::huge_pages::Pages;
use bytemuck::Pod;
use half::f16;
use std::ops::Range;

/// How a packed weight is stored, and what it is multiplied by. A step of the tile takes one element of each column, in
/// one or more parts.
pub(super) trait Element: Pod + Default + Send + Sync + 'static {
    /// What a left-hand row is made of: a word for each part of a step.
    type Word: Copy + 'static;
    /// A vector of weights, or of one broadcast word, as the instruction multiplies it.
    type Operand<S: Simd>: Copy;
    type Sum<S: Simd>: Copy;
    /// The number of parts of a step: consecutive multiply-adds, the last part first.
    fn parts<S: Simd>() -> usize;
    fn zero<S: Simd>(s: S) -> Self::Sum<S>;
    fn load<S: Simd>(s: S, from: &[Self], part: usize) -> Self::Operand<S>;
    fn splat<S: Simd>(s: S, word: Self::Word) -> Self::Operand<S>;
    fn multiply_add<S: Simd>(s: S, left: Self::Operand<S>, right: Self::Operand<S>, sum: Self::Sum<S>) -> Self::Sum<S>;
}

/// Implements [`Element`] for a type: its word, operand and sum, the parts of a step, and the methods of [`Simd`] to
/// call.
macro_rules! element {
    ($type:ty: $word:ty, $operand:ident, $sum:ident, $parts:expr; $zero:ident, $load:ident, $splat:ident, $dot:ident) => {
        impl Element for $type {
            type Word = $word;
            type Operand<S: Simd> = S::$operand;
            type Sum<S: Simd> = S::$sum;
            #[inline(always)]
            fn parts<S: Simd>() -> usize {
                $parts
            }
            #[inline(always)]
            fn zero<S: Simd>(s: S) -> S::$sum {
                s.$zero(0 as _)
            }
            #[inline(always)]
            fn load<S: Simd>(s: S, from: &[Self], part: usize) -> S::$operand {
                s.$load(from, part)
            }
            #[inline(always)]
            fn splat<S: Simd>(s: S, word: $word) -> S::$operand {
                s.$splat(word)
            }
            #[inline(always)]
            fn multiply_add<S: Simd>(s: S, left: S::$operand, right: S::$operand, sum: S::$sum) -> S::$sum {
                s.$dot(left, right, sum)
            }
        }
    };
}

element!(f32: f32, F, F, 1; splat, load_f32, splat, mul_add);
element!(f16: f32, F, F, 1; splat, load_f16, splat, mul_add);
element!(Bf16x2: i32, Pairs, F, S::PAIR_PARTS; splat, load_pairs, splat_pair, dot_pairs);
element!(I8x4: i32, I, I, S::QUAD_PARTS; splat_i32, load_quads, splat_i32, dot_quads);

/// Rows of a panel, and the elements to prefetch into the second-level cache while they are multiplied.
#[derive(Clone, Copy)]
pub(super) struct PanelRows<'a, E> {
    pub(super) rows: &'a [E],
    pub(super) next: &'a [E],
}

/// A matrix `[depth, columns]` as panels of `width` adjacent columns: panel `p` holds, for each row in turn, the
/// columns `p·width .. (p+1)·width`; products with the padding of the last panel are never used. The tile reads a panel
/// front to back.
#[derive(Clone, Debug, Default)]
pub(super) struct Panels<E: Pod> {
    width: usize,
    depth: usize,
    data: Pages<E>,
}

impl<E: Element> Panels<E> {
    /// Packs the matrix whose element in row `k` and column `n` is `at(k, n)`; `columns` is a multiple of `width`.
    #[inline(always)]
    pub(super) fn new(width: usize, depth: usize, columns: usize, at: impl Fn(usize, usize) -> E) -> Self {
        let mut panels = Self::default();
        panels.resize(width, depth, columns);
        for (panel, data) in panels.data.chunks_exact_mut((depth * width).max(1)).enumerate() {
            for n in 0..width {
                for k in 0..depth {
                    data[k * width + n] = at(k, panel * width + n);
                }
            }
        }
        panels
    }

    /// Resizes the memory for a matrix; its elements are unspecified.
    #[inline(always)]
    fn resize(&mut self, width: usize, depth: usize, columns: usize) {
        (self.width, self.depth) = (width, depth);
        self.data.resize(columns.div_ceil(width) * depth * width);
    }

    /// The rows `depth` of one panel, and up to as many behind them to prefetch: its next rows or the next panel's.
    #[inline(always)]
    pub(super) fn rows(&self, panel: usize, depth: Range<usize>) -> PanelRows<'_, E> {
        let (rows, following) =
            self.data[(panel * self.depth + depth.start) * self.width..].split_at(depth.len() * self.width);
        PanelRows { rows, next: &following[..following.len().min(rows.len())] }
    }
}

impl Panels<f32> {
    /// Packs the matrix of the first `columns` elements of each row, reusing the memory, and prefetches the next
    /// `columns` elements: those of attention's next head.
    #[inline(always)]
    pub(super) fn pack_rows<S: Simd>(&mut self, s: S, width: usize, rows: Rows<'_>, columns: usize) {
        let depth = rows.count;
        self.resize(width, depth, columns);
        for k in 0..depth {
            let row = rows.row(k, columns);
            prefetch_lines(row.as_ptr_range().end, columns, Near::Second);
            for (panel, part) in self.data.chunks_exact_mut(depth * width).zip(row.chunks(width)) {
                let to = &mut panel[k * width..][..part.len()];
                let (vectors, rest) = part.split_at(part.len() - part.len() % S::LANES);
                for i in (0..vectors.len()).step_by(S::LANES) {
                    s.store(s.load(&vectors[i..]), &mut to[i..]);
                }
                if !rest.is_empty() {
                    to[vectors.len()..].copy_from_slice(rest);
                }
            }
        }
    }

    /// Packs the matrix whose columns are the first `depth` elements of each row, reusing the memory, and prefetches
    /// the next `depth` elements: those of attention's next head. `width` is a multiple of 8.
    #[inline(always)]
    pub(super) fn pack_columns<S: Simd>(&mut self, s: S, width: usize, rows: Rows<'_>, depth: usize) {
        let columns = rows.count;
        self.resize(width, depth, columns);
        let data = &mut self.data[..];
        for n in (0..columns).step_by(8) {
            let panel = &mut data[n / width * depth * width..][..depth * width];
            for row in n..columns.min(n + 8) {
                prefetch_lines(rows.row(row, depth).as_ptr_range().end, depth, Near::Second);
            }
            for k in (0..depth).step_by(8) {
                let mut block = [[0.0; 8]; 8];
                if n + 8 <= columns && k + 8 <= depth {
                    for (i, line) in block.iter_mut().enumerate() {
                        line.copy_from_slice(&rows.row(n + i, depth)[k..k + 8]);
                    }
                } else {
                    for (i, line) in block[..8.min(columns - n)].iter_mut().enumerate() {
                        let rest = &rows.row(n + i, depth)[k..];
                        let len = rest.len().min(8);
                        line[..len].copy_from_slice(&rest[..len]);
                    }
                }
                let lines = s.transpose(block);
                for (line, to) in lines.iter().zip(panel[k * width..].chunks_exact_mut(width)) {
                    to[n % width..][..8].copy_from_slice(line);
                }
            }
        }
    }
}
