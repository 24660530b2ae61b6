//! Views against a classifier's vectors, on the device.

use super::{Embeddings, On};
use crate::backend::args::WeightedSimilarityArgs;
use crate::backend::{Backend, Precision, Reduction, Shape};
use crate::error::Result;
use std::sync::Arc;

/// What a classifier leaves on a device.
pub(crate) struct Scoring<'a> {
    /// One vector a class.
    pub(crate) vectors: &'a Embeddings,
}

/// A classifier on a device.
pub(crate) trait Scorer: Send + Sync {
    /// `Σ wᵢ fᵢ·vector` for each class.
    fn similarities(&self, views: &Embeddings, weights: &[f32]) -> Result<Vec<f32>>;
}

struct OnDevice<B: Backend> {
    engine: Arc<On<B>>,
    vectors: B::Linear,
    /// 1 for each class: its vector is its only text.
    ones: B::Tensor,
    offsets: Vec<u32>,
}

pub(super) fn on<B: Backend + 'static>(engine: Arc<On<B>>, scoring: &Scoring<'_>) -> Result<Box<dyn Scorer>> {
    let vectors = scoring.vectors;
    let classes = vectors.len();
    let shape = Shape::new(classes, vectors.width);
    let packed = engine.backend.pack(shape, &vectors.data, None, Precision::F32)?;
    let ones = engine.backend.upload(Shape::new(1, classes), &vec![1.0; classes])?;
    Ok(Box::new(OnDevice { vectors: packed, ones, offsets: (0..=classes as u32).collect(), engine }))
}

impl<B: Backend> Scorer for OnDevice<B> {
    fn similarities(&self, views: &Embeddings, weights: &[f32]) -> Result<Vec<f32>> {
        let backend = &self.engine.backend;
        let rows = self.engine.upload(views)?;
        let weights = backend.upload(Shape::new(1, weights.len()), weights)?;
        let mut scores = backend.allocate(Shape::new(1, self.offsets.len() - 1))?;
        let (texts, ones, classes) = (&self.vectors, &self.ones, &self.offsets);
        backend.weighted_similarity(WeightedSimilarityArgs {
            views: &rows,
            view_weights: &weights,
            texts,
            text_weights: ones,
            classes,
            reduction: Reduction::WeightedMean,
            out: &mut scores,
        })?;
        backend.download(&scores)
    }
}
