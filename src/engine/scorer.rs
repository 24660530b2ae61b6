//! Scoring pictures against a classifier's texts: from views to scores without leaving the device.

use super::{Embeddings, On, computed, offsets};
use crate::backend::args::{AlignmentWeightsArgs, GatherRowsArgs, WeightedSimilarityArgs};
use crate::backend::{Backend, Pending, Precision, Reduction, Shape};
use crate::error::Result;
use crate::model::PictureViews;
use crate::process::Owned;
use std::sync::Arc;

/// The least length that a score is divided by, as in PyTorch's `F.normalize`.
const LEAST_LENGTH: f32 = 1e-12;

/// About the most views that are scored together: 64 MiB of embeddings in the widest models, half of WebGPU's limit for
/// a binding. Further pictures are scored after them.
const VIEWS_AT_ONCE: usize = 16 << 10;

/// What a classifier uploads to a device, and how it scores.
pub(crate) struct Scoring<'a> {
    /// The classes' texts, which views are compared with: `[texts, D]`.
    pub(crate) embeddings: &'a Embeddings,
    /// `vⱼ`, one a text.
    pub(crate) weights: &'a [f32],
    /// Class `c` owns the texts `offsets[c] .. offsets[c+1]`.
    pub(crate) offsets: &'a [u32],
    /// How a view's similarities with a class's texts become one number.
    pub(crate) reduction: Reduction,
    /// The softmax scale of the local views; none where the global view alone is scored.
    pub(crate) view_scale: Option<f32>,
    /// Whether scores are divided by the length of the weighted sum of the views.
    pub(crate) unit: bool,
}

/// The scores of several pictures.
#[derive(Default)]
pub(crate) struct Scores {
    /// `[pictures, classes]`
    pub(crate) scores: Vec<f32>,
    /// The local views' weights, picture after picture; none where the global view alone is scored.
    pub(crate) weights: Vec<f32>,
}

/// A classifier on a device.
pub(crate) trait Scorer: Send + Sync {
    /// Submits the encoding and scoring of pictures. The first view of each is its global one.
    fn score(&self, jobs: &[PictureViews<'_>]) -> Result<Pending<'_, Scores>>;

    /// Scores pictures by their encoded views, `views[i]` rows for picture `i`, of which the first is its global view.
    fn score_rows(&self, rows: &Embeddings, views: &[usize]) -> Result<Scores>;
}

struct OnDevice<B: Backend> {
    engine: Arc<Owned<On<B>>>,
    texts: B::Linear,
    text_weights: B::Tensor,
    classes: Vec<u32>,
    reduction: Reduction,
    width: usize,
    view_scale: Option<f32>,
    unit: bool,
}

pub(super) fn on<B: Backend + 'static>(engine: Arc<Owned<On<B>>>, scoring: &Scoring<'_>) -> Result<Box<dyn Scorer>> {
    let Scoring { embeddings, weights, offsets, reduction, view_scale, unit } = *scoring;
    let (count, width) = (embeddings.len(), embeddings.width);
    let texts = engine.backend.pack(Shape::new(count, width), &embeddings.data, None, Precision::F32)?;
    let text_weights = engine.backend.upload(Shape::new(1, count), weights)?;
    let (classes, is_host) = (offsets.to_vec(), engine.backend.is_host());
    let scorer = OnDevice { texts, text_weights, classes, reduction, width, view_scale, unit, engine };
    Ok(Box::new(Owned::new(scorer, is_host)))
}

impl<B: Backend> Scorer for Owned<OnDevice<B>> {
    fn score(&self, jobs: &[PictureViews<'_>]) -> Result<Pending<'_, Scores>> {
        self.engine.ours()?;
        let (mut parts, mut rest) = (Vec::new(), jobs);
        while !rest.is_empty() {
            let mut total = 0;
            let fits = |job: &&PictureViews<'_>| {
                total += job.plan.views().len();
                total <= VIEWS_AT_ONCE
            };
            let (together, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            let views: Vec<usize> = together.iter().map(|job| job.plan.views().len()).collect();
            parts.push(self.score_tensor(&self.engine.encode(together, true)?, &views)?);
            rest = after;
        }
        Ok(Pending::awaited(async {
            let mut all = Scores::default();
            for part in parts {
                let Scores { scores, weights } = part.await?;
                all.scores.extend(scores);
                all.weights.extend(weights);
            }
            Ok(all)
        }))
    }

    fn score_rows(&self, rows: &Embeddings, views: &[usize]) -> Result<Scores> {
        self.engine.ours()?;
        self.score_tensor(&self.engine.upload(rows)?, views)?.wait()
    }
}

impl<B: Backend> OnDevice<B> {
    /// Scores embeddings `[views, D]` on the device, with a single download.
    fn score_tensor(&self, rows: &B::Tensor, views: &[usize]) -> Result<Pending<'_, Scores>> {
        let backend = &self.engine.backend;
        let bounds = offsets(views.iter().copied());
        let globals = self.gather(rows, &bounds[..views.len()])?;
        let Some(scale) = self.view_scale else {
            let weights = backend.upload(Shape::new(1, views.len()), &vec![1.0; views.len()])?;
            let pictures: Vec<u32> = (0..=views.len() as u32).collect();
            let scores = backend.download_later([&self.similarities(&globals, &weights, &pictures)?])?;
            return Ok(scores.and_then(|[scores]| {
                self.engine.computed(|device| computed::finite(device, "scores", &scores))?;
                Ok(Scores { scores, weights: Vec::new() })
            }));
        };
        let local: Vec<u32> = bounds.windows(2).flat_map(|picture| picture[0] + 1..picture[1]).collect();
        let pictures = offsets(views.iter().map(|views| views - 1));
        let locals = self.gather(rows, &local)?;
        let mut weights = backend.allocate(Shape::new(1, local.len()))?;
        let mut lengths = backend.allocate(Shape::new(1, views.len()))?;
        backend.alignment_weights(AlignmentWeightsArgs {
            rows: &locals,
            anchors: &globals,
            offsets: &pictures,
            scale,
            lengths: &mut lengths,
            out: &mut weights,
        })?;
        let scores = self.similarities(&locals, &weights, &pictures)?;
        let (unit, classes) = (self.unit, self.classes.len() - 1);
        Ok(backend.download_later([&scores, &weights, &lengths])?.and_then(move |[mut scores, weights, lengths]| {
            self.engine.computed(|device| {
                computed::weights(device, &weights, &pictures)?;
                computed::finite(device, "scores", &[&scores[..], &lengths].concat())
            })?;
            if unit {
                for (scores, length) in scores.chunks_mut(classes).zip(lengths) {
                    scores.iter_mut().for_each(|score| *score /= length.max(LEAST_LENGTH));
                }
            }
            Ok(Scores { scores, weights })
        }))
    }

    fn gather(&self, input: &B::Tensor, rows: &[u32]) -> Result<B::Tensor> {
        let mut out = self.engine.backend.allocate(Shape::new(rows.len(), self.width))?;
        self.engine.backend.gather_rows(GatherRowsArgs { input, rows, first_row: 0, out: &mut out })?;
        Ok(out)
    }

    /// `Σ wᵢ · reduction of (vⱼ, fᵢ·gⱼ)` for each picture and class.
    fn similarities(&self, views: &B::Tensor, weights: &B::Tensor, pictures: &[u32]) -> Result<B::Tensor> {
        let mut out = self.engine.backend.allocate(Shape::new(pictures.len() - 1, self.classes.len() - 1))?;
        self.engine.backend.weighted_similarity(WeightedSimilarityArgs {
            views,
            view_weights: weights,
            texts: &self.texts,
            text_weights: &self.text_weights,
            pictures,
            classes: &self.classes,
            reduction: self.reduction,
            out: &mut out,
        })?;
        Ok(out)
    }
}
