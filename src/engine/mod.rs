//! A backend with its towers, behind one object-safe trait: the only place where the backend's type is erased.

mod computed;
mod device;
mod embeddings;
mod model;
mod open;
mod scorer;

use crate::backend::args::{AlignmentWeightsArgs, LinearArgs};
use crate::backend::{Backend, Epilogue, Pending, Precision, Profile, Shape, Shaped};
#[cfg(feature = "cli")]
use crate::backend::{CropPlan, Rgb};
use crate::error::{Error, Result};
use crate::model::{Config, Loader, PictureViews, TextTower, VisionTower};
use crate::process::Owned;
use std::sync::Arc;

pub use device::Device;
pub use embeddings::{Embeddings, TextEmbeddings};
pub(crate) use model::spread;
pub use model::{Model, ModelOptions, Towers};
#[cfg(feature = "cli")]
pub(crate) use open::{Taken, open};
pub(crate) use scorer::{Scorer, Scores, Scoring};

/// What a device does for a model, whatever its backend. Rows go in and come out as slices of f32; between a picture
/// and its embeddings, and between views and scores, they stay in the device's memory.
pub(crate) trait Engine: Send + Sync {
    fn facts(&self) -> &Facts;

    /// As [`Backend::profile`].
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile>;

    /// As [`resampled`](crate::image::resampled).
    #[cfg(feature = "cli")]
    fn resample(&self, picture: Rgb<'_>, plan: &CropPlan) -> Result<Vec<u8>>;

    /// Submits the encoding of all views of all jobs: their embeddings, in order, of unit length with `normalize`.
    fn encode_views(&self, jobs: &[PictureViews<'_>], normalize: bool) -> Result<Pending<'_, Vec<f32>>>;

    /// The embeddings of texts, given by their tokens up to the end token.
    fn encode_texts(&self, texts: &[&[u32]], normalize: bool) -> Result<Pending<'_, Vec<f32>>>;

    /// As [`Backend::alignment_weights`].
    fn alignment_weights(
        &self,
        rows: &Embeddings,
        anchors: &Embeddings,
        offsets: &[u32],
        scale: f32,
    ) -> Result<Pending<'_, Vec<f32>>>;

    /// `rows[i]·others[j]`, `[rows, others]`.
    fn cosines(&self, rows: &Embeddings, others: &Embeddings) -> Result<Pending<'_, Vec<f32>>>;

    /// Uploads a classifier to this device.
    fn scorer(self: Arc<Self>, scoring: &Scoring<'_>) -> Result<Box<dyn Scorer>>;
}

/// Facts about a device and the towers on it.
pub(crate) struct Facts {
    /// As [`Backend::describe`].
    pub(crate) description: String,
    /// As [`Backend::threads`].
    pub(crate) threads: usize,
    /// As [`Backend::is_host`].
    pub(crate) is_host: bool,
    /// The weights' precision: as asked for, else this device's default as [`ModelOptions::precision`] says.
    pub(crate) precision: Precision,
    /// How many views are encoded at once: without the vision tower 1, but never fewer than `threads`.
    pub(crate) views_at_once: usize,
}

/// A backend, and the towers that were loaded on it.
struct On<B: Backend> {
    backend: B,
    facts: Facts,
    vision: Option<VisionTower<B>>,
    text: Option<TextTower<B>>,
}

impl<B: Backend> On<B> {
    /// Loads the towers that `loading` asks for, if any, onto a backend.
    fn load(backend: B, loading: Option<&Loading<'_>>) -> Result<Owned<Self>> {
        let auto = auto_precision(backend.has_matrix_units());
        let Some(&Loading { weights, layout, config, options, towers }) = loading else {
            return Ok(Self::new(backend, auto, None, None).owned());
        };
        let precision = options.precision.unwrap_or(auto);
        let loader = Loader { device: &backend, weights, layout, precision };
        let vision = || VisionTower::load(&loader, config, options.views_at_once);
        let vision = (towers != Towers::Text).then(vision).transpose()?;
        let text = (towers != Towers::Vision).then(|| TextTower::load(&loader, config)).transpose()?;
        backend.flush()?;
        Ok(Self::new(backend, precision, vision, text).owned())
    }

    fn owned(self) -> Owned<Self> {
        let is_host = self.backend.is_host();
        Owned::new(self, is_host)
    }

    fn new(backend: B, precision: Precision, vision: Option<VisionTower<B>>, text: Option<TextTower<B>>) -> Self {
        let (threads, views) =
            (backend.threads(), vision.as_ref().map_or(1, |vision| vision.preferred_views(&backend)));
        let facts = Facts {
            description: backend.describe(),
            threads,
            is_host: backend.is_host(),
            precision,
            views_at_once: views.max(threads),
        };
        Self { backend, facts, vision, text }
    }

    /// The embeddings of all views of all jobs, in order, on the device.
    fn encode(&self, jobs: &[PictureViews<'_>], normalize: bool) -> Result<B::Tensor> {
        let vision = self.vision.as_ref().ok_or_else(|| missing("vision"))?;
        match (vision.encode(&self.backend, jobs, normalize), &self.text) {
            // Freeing the text tower's activations makes room.
            (Err(Error::OutOfMemory { .. }), Some(text)) => {
                text.release(&self.backend)?;
                vision.encode(&self.backend, jobs, normalize)
            }
            (encoded, _) => encoded,
        }
    }

    /// Checks what was downloaded from a device; on the host it cannot be stale.
    fn computed(&self, check: impl FnOnce(&str) -> Result<()>) -> Result<()> {
        if self.facts.is_host { Ok(()) } else { check(&self.facts.description) }
    }

    /// Downloads embeddings, of unit length with `normalize`.
    fn embeddings(&self, rows: &B::Tensor, normalize: bool) -> Result<Pending<'_, Vec<f32>>> {
        let width = rows.shape().cols;
        Ok(self.backend.download_later([rows])?.and_then(move |[rows]| {
            self.computed(|device| computed::embeddings(device, &rows, width, normalize))?;
            Ok(rows)
        }))
    }

    fn upload(&self, rows: &Embeddings) -> Result<B::Tensor> {
        self.backend.upload(Shape::new(rows.len(), rows.width), &rows.data)
    }
}

/// The offsets of consecutive segments of these lengths: the start of each, and the end of the last.
pub(crate) fn offsets(lengths: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut end = 0;
    let ends = lengths.map(|length| {
        end += length as u32;
        end
    });
    std::iter::once(0).chain(ends).collect()
}

/// A device's name as options give it, such as `cuda:0`: the part of its description before `: `.
fn short_name(description: &str) -> &str {
    description.split(": ").next().unwrap_or_default()
}

/// What the precision `auto` stands for on a device with or without matrix units.
pub(crate) fn auto_precision(matrix_units: bool) -> Precision {
    if matrix_units { Precision::F16 } else { Precision::F32 }
}

/// What towers are loaded from.
pub(crate) struct Loading<'a> {
    weights: &'a dyn crate::model::Weights,
    layout: crate::model::Layout,
    config: &'a Config,
    options: &'a ModelOptions,
    /// The towers for this device: further devices hold the vision tower alone.
    towers: Towers,
}

impl<B: Backend> Owned<On<B>> {
    /// Refuses a forked child, which does not own the device.
    fn ours(&self) -> Result<()> {
        self.check(short_name(&self.backend.describe()))
    }
}

impl<B: Backend + 'static> Engine for Owned<On<B>> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        self.backend.profile(work)
    }

    #[cfg(feature = "cli")]
    fn resample(&self, picture: Rgb<'_>, plan: &CropPlan) -> Result<Vec<u8>> {
        self.ours()?;
        crate::image::resampled(&self.backend, picture, plan)
    }

    fn encode_views(&self, jobs: &[PictureViews<'_>], normalize: bool) -> Result<Pending<'_, Vec<f32>>> {
        self.ours()?;
        self.embeddings(&self.encode(jobs, normalize)?, normalize)
    }

    fn encode_texts(&self, texts: &[&[u32]], normalize: bool) -> Result<Pending<'_, Vec<f32>>> {
        self.ours()?;
        let tower = self.text.as_ref().ok_or_else(|| missing("text"))?;
        self.embeddings(&tower.encode(&self.backend, texts, normalize)?, normalize)
    }

    fn alignment_weights(
        &self,
        rows: &Embeddings,
        anchors: &Embeddings,
        offsets: &[u32],
        scale: f32,
    ) -> Result<Pending<'_, Vec<f32>>> {
        self.ours()?;
        let mut weights = self.backend.allocate(Shape::new(1, rows.len()))?;
        let mut lengths = self.backend.allocate(Shape::new(1, anchors.len()))?;
        let (rows, anchors) = (self.upload(rows)?, self.upload(anchors)?);
        self.backend.alignment_weights(AlignmentWeightsArgs {
            rows: &rows,
            anchors: &anchors,
            offsets,
            scale,
            lengths: &mut lengths,
            out: &mut weights,
        })?;
        let offsets = offsets.to_vec();
        Ok(self.backend.download_later([&weights])?.and_then(move |[weights]| {
            self.computed(|device| computed::weights(device, &weights, &offsets))?;
            Ok(weights)
        }))
    }

    fn cosines(&self, rows: &Embeddings, others: &Embeddings) -> Result<Pending<'_, Vec<f32>>> {
        self.ours()?;
        let shape = Shape::new(others.len(), others.width);
        let packed = self.backend.pack(shape, &others.data, None, Precision::F32)?;
        let mut cosines = self.backend.allocate(Shape::new(rows.len(), others.len()))?;
        self.backend.linear(LinearArgs {
            input: &self.upload(rows)?,
            layer: &packed,
            epilogue: Epilogue::Store,
            out: &mut cosines,
        })?;
        Ok(self.backend.download_later([&cosines])?.and_then(|[cosines]| {
            self.computed(|device| computed::finite(device, "cosines", &cosines))?;
            Ok(cosines)
        }))
    }

    fn scorer(self: Arc<Self>, scoring: &Scoring<'_>) -> Result<Box<dyn Scorer>> {
        self.ours()?;
        scorer::on(self, scoring)
    }
}

pub(crate) fn missing(tower: &str) -> Error {
    Error::argument(
        "towers",
        format!("a model without its {tower} tower"),
        format!("one loaded with its {tower} tower"),
    )
}
