//! The right-hand matrix of a product, packed in panels for the register tile.

use super::simd::Simd;
use half::{bf16, f16};

/// How a packed weight is stored; it is widened to f32 as it is loaded.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    fn round(x: f32) -> Self;
    fn load<S: Simd>(s: S, from: &[Self]) -> S::F;
}

impl Element for f32 {
    fn round(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self]) -> S::F {
        s.load(from)
    }
}

impl Element for f16 {
    fn round(x: f32) -> Self {
        Self::from_f32(x)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self]) -> S::F {
        s.load_f16(from)
    }
}

impl Element for bf16 {
    fn round(x: f32) -> Self {
        Self::from_f32(x)
    }
    #[inline(always)]
    fn load<S: Simd>(s: S, from: &[Self]) -> S::F {
        s.load_bf16(from)
    }
}

/// A matrix `[depth, columns]` as panels of `width` adjacent columns: panel `p` holds, for each row in turn, the
/// columns `p·width .. (p+1)·width`, zero beyond the last. The tile reads a panel front to back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels<E> {
    width: usize,
    depth: usize,
    data: Vec<E>,
}

impl<E: Element> Panels<E> {
    /// Packs the matrix whose element in row `k` and column `n` is `at(k, n)`; keeps the memory it has.
    #[inline(always)]
    pub(super) fn pack(&mut self, width: usize, depth: usize, columns: usize, at: impl Fn(usize, usize) -> f32) {
        (self.width, self.depth) = (width, depth);
        self.data.clear();
        self.data.resize(columns.div_ceil(width) * depth * width, E::default());
        for (panel, data) in self.data.chunks_exact_mut(depth * width).enumerate() {
            let first = panel * width;
            for n in first..columns.min(first + width) {
                for k in 0..depth {
                    data[k * width + n - first] = E::round(at(k, n));
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
