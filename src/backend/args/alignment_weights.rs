//! Arguments of `alignment_weights`.

use super::{KernelArgs, expect_offsets, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::alignment_weights`].
pub struct AlignmentWeightsArgs<'a, B: Backend> {
    /// `[R, D]`
    pub rows: &'a B::Tensor,
    /// `[segments, D]`
    pub anchors: &'a B::Tensor,
    /// Segment `s` owns the rows `offsets[s] .. offsets[s+1]`.
    pub offsets: &'a [u32],
    /// Of the cosines before the softmax.
    pub scale: f32,
    /// `[1, R]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AlignmentWeightsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let rows = self.rows.shape();
        expect_offsets("alignment_weights offsets", self.offsets, rows.rows)?;
        let anchors = Shape::new(self.offsets.len() - 1, rows.cols);
        expect_shape("alignment_weights anchors", self.anchors.shape(), anchors)?;
        expect_shape("alignment_weights output", self.out.shape(), Shape::new(1, rows.rows))?;
        if !self.scale.is_finite() {
            return Err(Error::argument("alignment_weights scale", self.scale.to_string(), "a finite number"));
        }
        Ok(())
    }
}
