//! The right-hand matrix of a product, packed in panels for the register tile.

use super::rounded::{Pair, Quad};
use super::simd::Simd;
use half::f16;

/// How a packed weight is stored, and what it is multiplied by. The tile takes one element of each column a step, in one
/// or more parts.
pub(super) trait Element: Copy + Default + Send + Sync + 'static {
    /// An element of the left-hand rows.
    type Left: Copy + 'static;
    /// A vector of weights, or of one element of a row, as it is multiplied.
    type Operand<S: Simd>: Copy;
    type Sum<S: Simd>: Copy;
    fn zero<S: Simd>(s: S) -> Self::Sum<S>;
    /// The parts of a step: multiply-adds one after the other.
    fn parts<S: Simd>() -> usize;
    fn load<S: Simd>(s: S, from: &[Self], part: usize) -> Self::Operand<S>;
    fn splat<S: Simd>(s: S, left: Self::Left, part: usize) -> Self::Operand<S>;
    fn multiply_add<S: Simd>(s: S, left: Self::Operand<S>, right: Self::Operand<S>, sum: Self::Sum<S>) -> Self::Sum<S>;
}

/// An element that is widened to f32 as it is loaded.
macro_rules! widened {
    ($type:ty, $load:ident) => {
        impl Element for $type {
            type Left = f32;
            type Operand<S: Simd> = S::F;
            type Sum<S: Simd> = S::F;
            #[inline(always)]
            fn zero<S: Simd>(s: S) -> S::F {
                s.splat(0.0)
            }
            #[inline(always)]
            fn parts<S: Simd>() -> usize {
                1
            }
            #[inline(always)]
            fn load<S: Simd>(s: S, from: &[Self], _: usize) -> S::F {
                s.$load(from)
            }
            #[inline(always)]
            fn splat<S: Simd>(s: S, left: f32, _: usize) -> S::F {
                s.splat(left)
            }
            #[inline(always)]
            fn multiply_add<S: Simd>(s: S, left: S::F, right: S::F, sum: S::F) -> S::F {
                s.mul_add(left, right, sum)
            }
        }
    };
}

widened!(f32, load);
widened!(f16, load_f16);

impl Element for Pair {
    type Left = Pair;
    type Operand<S: Simd> = S::Pairs;
    type Sum<S: Simd> = S::F;
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> S::F {
        s.splat(0.0)
    }
    #[inline(always)]
    fn parts<S: Simd>() -> usize {
        S::PAIR_PARTS
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self], part: usize) -> S::Pairs {
        s.load_pairs(from, part)
    }
    #[inline(always)]
    fn splat<S: Simd>(s: S, left: Self, part: usize) -> S::Pairs {
        s.splat_pair(left, part)
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, left: S::Pairs, right: S::Pairs, sum: S::F) -> S::F {
        s.dot_pairs(left, right, sum)
    }
}

impl Element for Quad {
    type Left = Quad;
    type Operand<S: Simd> = S::Quads;
    type Sum<S: Simd> = S::I;
    #[inline(always)]
    fn zero<S: Simd>(s: S) -> S::I {
        s.load_i32(&[0; 16])
    }
    #[inline(always)]
    fn parts<S: Simd>() -> usize {
        1
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self], _: usize) -> S::Quads {
        s.load_quads(from)
    }
    #[inline(always)]
    fn splat<S: Simd>(s: S, left: Self, _: usize) -> S::Quads {
        s.splat_quad(left)
    }
    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, left: S::Quads, right: S::Quads, sum: S::I) -> S::I {
        s.dot_quads(left, right, sum)
    }
}

/// A matrix `[depth, columns]` as panels of `width` adjacent columns: panel `p` holds, for each row in turn, the
/// columns `p·width .. (p+1)·width`, zero beyond the last. The tile reads a panel front to back.
#[derive(Clone, Debug, Default)]
pub(super) struct Panels<E> {
    width: usize,
    depth: usize,
    data: Vec<E>,
}

impl<E: Element> Panels<E> {
    /// Packs the matrix whose element in row `k` and column `n` is `at(k, n)`; keeps the memory it has.
    #[inline(always)]
    pub(super) fn pack(&mut self, width: usize, depth: usize, columns: usize, at: impl Fn(usize, usize) -> E) {
        (self.width, self.depth) = (width, depth);
        self.data.clear();
        self.data.resize(columns.div_ceil(width) * depth * width, E::default());
        for (panel, data) in self.data.chunks_exact_mut(depth * width).enumerate() {
            let first = panel * width;
            for n in first..columns.min(first + width) {
                for k in 0..depth {
                    data[k * width + n - first] = at(k, n);
                }
            }
        }
    }

    /// The rows `depth` of one panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize, depth: std::ops::Range<usize>) -> &[E] {
        let start = panel * self.depth * self.width;
        &self.data[start + depth.start * self.width..start + depth.end * self.width]
    }
}
