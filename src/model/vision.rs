//! The vision tower: from views to embeddings.

use super::average::Average;
use super::config::{Config, Pooling};
use super::layout::{LinearWeights, Part, Tower};
use super::transformer::{Loader, Norm, Transformer, Workspace, append, fits, gather, linear, project};
use crate::backend::args::{AddPositionsArgs, CropResizeArgs};
use crate::backend::{Backend, CropJob, CropOutput, CropPlan, Epilogue, PatchLayout, Rgb, Shape};
use crate::error::Result;
use crate::lock::lock;
use std::ops::Range;
use std::sync::Mutex;

/// A picture and the views to take of it.
#[derive(Clone, Copy, Debug)]
pub struct PictureViews<'a> {
    /// The picture.
    pub picture: Rgb<'a>,
    /// Its views, of the model's image size.
    pub plan: &'a CropPlan,
}

pub(crate) struct VisionTower<B: Backend> {
    layout: PatchLayout,
    patches: usize,
    views_at_once: usize,
    width: usize,
    embed: usize,
    patch_embedding: B::Linear,
    class: B::Tensor,
    positions: B::Tensor,
    pre_norm: Option<Norm<B>>,
    transformer: Transformer<B>,
    pooling: Pooling,
    average: Option<Average<B>>,
    post_norm: Norm<B>,
    projection: B::Linear,
    space: Mutex<Workspace<B>>,
}

impl<B: Backend> VisionTower<B> {
    /// `views_at_once` are encoded together; 0: as many as the device prefers.
    pub(crate) fn load(loader: &Loader<'_, B>, config: &Config, views_at_once: usize) -> Result<Self> {
        let (layout, weights, device) = (loader.layout, loader.weights, loader.device);
        let (width, eps, patch) = (config.vision.width, config.vision.eps, config.patch_size as usize);
        let name = layout.part(Part::PatchEmbedding);
        let (bias, columns) = (format!("{name}.bias"), 3 * patch * patch);
        let patch_embedding = LinearWeights {
            weight: weights.read(&format!("{name}.weight"), &[width, 3, patch, patch])?,
            bias: weights.has(&bias).then(|| weights.read(&bias, &[width])).transpose()?,
        };
        Ok(Self {
            layout: PatchLayout::new(config.patch_size, config.mean, config.std)?,
            patches: config.patches(),
            views_at_once,
            width,
            embed: config.embed,
            patch_embedding: loader.pack(patch_embedding, columns)?,
            class: loader.tensor(&layout.part(Part::ClassEmbedding), &[width])?,
            positions: loader.tensor(&layout.part(Part::VisionPositions), &[config.patches() + 1, width])?,
            pre_norm: config.pre_norm.then(|| loader.norm(&layout.part(Part::PreNorm), width, eps)).transpose()?,
            transformer: Transformer::load(loader, Tower::Vision, &config.vision, false)?,
            pooling: config.pooling,
            average: (config.pooling != Pooling::ClassToken)
                .then(|| Average::new(device, width, config.vision.heads))
                .transpose()?,
            post_norm: loader.norm(&layout.part(Part::VisionNorm), width, eps)?,
            projection: loader.pack(layout.projection(weights, Tower::Vision, width, config.embed)?, width)?,
            space: Mutex::new(Workspace::new(device, loader.precision)?),
        })
    }

    /// How many views [`VisionTower::encode`] encodes together.
    pub(crate) fn preferred_views(&self, device: &B) -> usize {
        (self.batch_rows(device) / (self.patches + 1)).max(1)
    }

    fn batch_rows(&self, device: &B) -> usize {
        match self.views_at_once {
            0 => self.transformer.batch_rows(device, self.columns()),
            views => views.saturating_mul(self.patches + 1),
        }
    }

    /// The columns of the patch matrix.
    fn columns(&self) -> usize {
        3 * (self.layout.patch() as usize).pow(2)
    }

    /// The embeddings of all views of all jobs, in order, of unit length with `normalize`: `[views, embed]`, on the device.
    pub(crate) fn encode(&self, device: &B, jobs: &[PictureViews<'_>], normalize: bool) -> Result<B::Tensor> {
        let views: usize = jobs.iter().map(|job| job.plan.views().len()).sum();
        let mut embeddings = device.allocate(Shape::new(views, self.embed))?;
        let mut pictures: Vec<_> = jobs.iter().map(|_| None).collect();
        let (mut limit, mut first) = (self.batch_rows(device), 0);
        while first < views {
            let count = (limit / (self.patches + 1)).clamp(1, views - first);
            let batch = first..first + count;
            let batch = self.encode_batch(device, jobs, &mut pictures, batch, normalize, &mut embeddings);
            if fits(device, &self.space, batch, (count, count * (self.patches + 1)), &mut limit)? {
                first += count;
            } else {
                pictures.fill_with(|| None); // The smaller batch uploads its pictures again.
            }
        }
        Ok(embeddings)
    }

    /// Encodes the views `batch`, numbered through all jobs, into their rows of `embeddings`. A picture is on the
    /// device from the first batch that has views of it to the last.
    fn encode_batch<'p>(
        &self,
        device: &B,
        jobs: &[PictureViews<'p>],
        pictures: &mut [Option<B::Picture<'p>>],
        batch: Range<usize>,
        normalize: bool,
        embeddings: &mut B::Tensor,
    ) -> Result<()> {
        let mut space = lock(&self.space);
        device.reshape(&mut space.input, Shape::new(batch.len() * self.patches, self.columns()))?;
        let parts = cut(jobs, &batch);
        for (job, _) in &parts {
            if pictures[*job].is_none() {
                pictures[*job] = Some(device.upload_picture(jobs[*job].picture)?);
            }
        }
        let crop = |(job, views): &(usize, Range<usize>)| {
            let (picture, plan) = (pictures[*job].as_ref()?, jobs[*job].plan);
            Some(CropJob { picture, plan, views: views.clone() })
        };
        let crops: Vec<_> = parts.iter().filter_map(crop).collect();
        let output = CropOutput::Patches { layout: &self.layout, first_row: 0, out: &mut space.input };
        device.crop_resize(CropResizeArgs { jobs: &crops, output })?;
        for (job, views) in parts {
            if views.end == jobs[job].plan.views().len() {
                pictures[job] = None;
            }
        }

        let space = &mut *space;
        let mut recording = std::mem::take(&mut space.recording);
        let key = 2 * batch.len() + usize::from(normalize);
        device.record_or_replay(&mut recording, key, || self.forward(device, space, batch.len(), normalize))?;
        space.recording = recording;
        append(device, &space.pooled, batch.start, embeddings)
    }

    /// Runs the tower from the views' patch matrix, in `space.input`, to their embeddings, in `space.pooled`.
    fn forward(&self, device: &B, space: &mut Workspace<B>, views: usize, normalize: bool) -> Result<()> {
        let tokens = self.patches + 1;
        let Workspace { input, hidden, pooled, stream, .. } = space;
        linear(device, input, &self.patch_embedding, Epilogue::Store, hidden)?;
        let summed = if self.pre_norm.is_some() { &mut *pooled } else { &mut *stream };
        device.reshape(summed, Shape::new(views * tokens, self.width))?;
        device.add_positions(AddPositionsArgs {
            patches: hidden,
            class: &self.class,
            positions: &self.positions,
            out: summed,
        })?;
        if let Some(norm) = &self.pre_norm {
            norm.apply(device, pooled, stream)?;
        }

        let offsets: Vec<u32> = (0..=views).map(|view| (view * tokens) as u32).collect();
        let class_tokens = self.average.is_none().then_some(&offsets[..views]);
        self.transformer.forward(device, space, &offsets, class_tokens)?;
        let Workspace { pooled, stream, normed, .. } = space;
        let rows = |count: usize| (0..count as u32).collect::<Vec<_>>();
        match &self.average {
            None => self.post_norm.apply(device, pooled, normed)?,
            Some(average) if self.pooling == Pooling::AverageThenNorm => {
                gather(device, stream, &rows(views * tokens), pooled)?;
                average.apply(device, pooled, tokens)?;
                self.post_norm.apply(device, pooled, normed)?;
            }
            Some(average) => {
                self.post_norm.apply(device, stream, pooled)?;
                average.apply(device, pooled, tokens)?;
                gather(device, pooled, &rows(views), normed)?;
            }
        }
        project(device, space, &self.projection, normalize)
    }
}

/// Splits the views `batch`, numbered through all jobs, into ranges of each job's own views.
fn cut(jobs: &[PictureViews<'_>], batch: &Range<usize>) -> Vec<(usize, Range<usize>)> {
    let (mut start, mut parts) = (0, Vec::new());
    for (job, PictureViews { plan, .. }) in jobs.iter().enumerate() {
        let end = start + plan.views().len();
        let (from, to) = (batch.start.max(start), batch.end.min(end));
        if from < to {
            parts.push((job, from - start..to - start));
        }
        start = end;
    }
    parts
}
