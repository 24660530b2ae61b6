//! Arguments of `weighted_similarity`.

use super::{KernelArgs, expect_offsets, expect_shape};
use crate::backend::{Backend, Reduction, Shape, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::weighted_similarity`].
pub struct WeightedSimilarityArgs<'a, B: Backend> {
    /// `[V, D]`
    pub views: &'a B::Tensor,
    /// `[1, V]`
    pub view_weights: &'a B::Tensor,
    /// `[T, D]`
    pub texts: &'a B::Linear,
    /// `[1, T]`
    pub text_weights: &'a B::Tensor,
    /// Class `c` owns the texts `classes[c] .. classes[c+1]`.
    pub classes: &'a [u32],
    /// Of a class's texts.
    pub reduction: Reduction,
    /// `[1, C]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for WeightedSimilarityArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (views, texts) = (self.views.shape(), self.texts.shape());
        expect_shape("weighted_similarity texts", texts, Shape::new(texts.rows, views.cols))?;
        let (view_weights, text_weights) = (self.view_weights.shape(), self.text_weights.shape());
        expect_shape("weighted_similarity view weights", view_weights, Shape::new(1, views.rows))?;
        expect_shape("weighted_similarity text weights", text_weights, Shape::new(1, texts.rows))?;
        expect_offsets("weighted_similarity classes", self.classes, texts.rows)?;
        expect_shape("weighted_similarity output", self.out.shape(), Shape::new(1, self.classes.len() - 1))?;
        if self.reduction == Reduction::BestMean(0) {
            return Err(Error::argument("weighted_similarity reduction", "the best 0", "at least the best 1"));
        }
        Ok(())
    }
}
