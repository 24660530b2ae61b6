//! Arguments of `linear`.

use super::{KernelArgs, expect_shape};
use crate::backend::{Backend, Epilogue, Shape, Shaped};
use crate::error::Result;

/// Of [`Backend::linear`].
pub struct LinearArgs<'a, B: Backend> {
    /// `[rows, inputs]`
    pub input: &'a B::Tensor,
    /// `[outputs, inputs]`
    pub layer: &'a B::Linear,
    /// What is done with a product before it is stored.
    pub epilogue: Epilogue,
    /// `[rows, outputs]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for LinearArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (input, layer) = (self.input.shape(), self.layer.shape());
        expect_shape("linear input", input, Shape::new(input.rows, layer.cols))?;
        expect_shape("linear output", self.out.shape(), Shape::new(input.rows, layer.rows))
    }
}
