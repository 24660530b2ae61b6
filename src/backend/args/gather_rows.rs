//! Arguments of `gather_rows`.

use super::{KernelArgs, expect_indices, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::Result;

/// Of [`Backend::gather_rows`].
pub struct GatherRowsArgs<'a, B: Backend> {
    /// `[·, D]`
    pub input: &'a B::Tensor,
    /// Which rows of `input`.
    pub rows: &'a [u32],
    /// `[rows, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for GatherRowsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let input = self.input.shape();
        expect_shape("gather_rows output", self.out.shape(), Shape::new(self.rows.len(), input.cols))?;
        expect_indices("gather_rows row", self.rows, input.rows)
    }
}
