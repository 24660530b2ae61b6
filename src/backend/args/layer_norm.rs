//! Arguments of `layer_norm`.

use super::{KernelArgs, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::Result;

/// Of [`Backend::layer_norm`].
pub struct LayerNormArgs<'a, B: Backend> {
    /// `[rows, D]`
    pub input: &'a B::Tensor,
    /// `[1, D]`
    pub gamma: &'a B::Tensor,
    /// `[1, D]`
    pub beta: &'a B::Tensor,
    /// Added to the variance.
    pub eps: f32,
    /// `[rows, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for LayerNormArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let input = self.input.shape();
        expect_shape("layer_norm gamma", self.gamma.shape(), Shape::new(1, input.cols))?;
        expect_shape("layer_norm beta", self.beta.shape(), Shape::new(1, input.cols))?;
        expect_shape("layer_norm output", self.out.shape(), input)
    }
}
