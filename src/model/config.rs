//! A model's dimensions and switches: from its config files, or from the tensors where there are none.

mod fields;
mod irrelevant;
mod open_clip;
mod processor;
mod shapes;
mod transformers;

use super::layout::Layout;
use super::source::Source;
use super::weights::Weights;
use crate::backend::{Activation, CropPlan};
use crate::error::{Error, Result};
use crate::image::{CropBox, Resize, plan_views};
use fields::Fields;
use std::path::Path;

pub(super) const TRANSFORMERS: &str = "config.json";
const OPEN_CLIP: &str = "open_clip_config.json";
/// The files that a model's dimensions may be in.
#[cfg(feature = "hub")]
pub(super) const MODELS: [&str; 2] = [TRANSFORMERS, OPEN_CLIP];
/// The files that its preprocessing may be in.
#[cfg(feature = "hub")]
pub(super) const PREPROCESSING: [&str; 3] = [OPEN_CLIP, processor::PREPROCESSOR, processor::PROCESSOR];
/// OpenAI's normalisation, CLIP's default (`OPENAI_DATASET_MEAN` and `…_STD`).
const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// Generous ranges for a mean and a standard deviation of values in 0 ..= 1.
const MEANS: std::ops::Range<f64> = -1e3..1e3;
const STDS: std::ops::Range<f64> = 1e-6..1e3;
/// Width of a head in OpenAI's models, whose files do not tell it.
const OPENAI_HEAD: usize = 64;
/// Bounds on what a config may ask for; far above any published CLIP.
const MAX_DIMENSION: u64 = 1 << 20;

/// Dimensions of a transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct TowerConfig {
    /// Width of a token, `D`.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of the MLP's hidden layer.
    pub mlp: usize,
    /// The MLP's non-linearity.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f32,
    /// Whether the outputs of attention and MLP are scaled, column by column, before they are added to the residual
    /// stream (open_clip's `ls_init_value`).
    pub layer_scale: bool,
}

/// How a view's tokens become one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The class token.
    ClassToken,
    /// The mean of the patches' tokens, then the final norm.
    AverageThenNorm,
    /// The final norm of every token, then the mean of the patches'.
    NormThenAverage,
}

/// How pixels become the vision tower's input.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Preprocessing {
    mean: [f32; 3],
    std: [f32; 3],
    resize: Resize,
}

/// A CLIP model's dimensions and switches.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The vision tower.
    pub vision: TowerConfig,
    /// Side of a view in pixels, `S`.
    pub image_size: u32,
    /// Side of a patch in pixels, `P`.
    pub patch_size: u32,
    /// Mean of each channel, for values in 0 ..= 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// How a whole picture becomes the global view.
    pub resize: Resize,
    /// Whether there is a norm before the first block of the vision tower.
    pub pre_norm: bool,
    /// How a view's tokens become one row.
    pub pooling: Pooling,
    /// The text tower.
    pub text: TowerConfig,
    /// Whether the text tower's attention is causal; if not, tokens also see the padding after the text.
    pub causal: bool,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// The most tokens of a text.
    pub context: usize,
    /// The id of the token that the text tower pools at, which must be the tokenizer's end token; none: the highest id.
    pub end_token: Option<u32>,
    /// Width of an embedding.
    pub embed: usize,
}

/// OpenAI's ViT-B/32: the defaults for what config files do not tell.
const OPENAI: Config = Config {
    vision: openai_tower(768, 12),
    image_size: 224,
    patch_size: 32,
    mean: OPENAI_MEAN,
    std: OPENAI_STD,
    resize: Resize::ShortestEdge,
    pre_norm: true,
    pooling: Pooling::ClassToken,
    text: openai_tower(512, 12),
    causal: true,
    vocabulary: 49_408,
    context: 77,
    end_token: None,
    embed: 512,
};

const fn openai_tower(width: usize, layers: usize) -> TowerConfig {
    let (heads, mlp, activation) = (width / OPENAI_HEAD, 4 * width, Activation::QuickGelu);
    TowerConfig { width, layers, heads, mlp, activation, eps: 1e-5, layer_scale: false }
}

impl Config {
    /// The dimensions of a published architecture, with quick_gelu: `ViT-B-32`, `ViT-B-16`, `ViT-L-14` or
    /// `ViT-L-14-336`.
    ///
    /// # Errors
    /// When the name is another.
    pub fn named(architecture: &str) -> Result<Self> {
        let (vision, patch_size, image_size, embed) = match architecture {
            "ViT-B-32" => (OPENAI.vision, 32, 224, 512),
            "ViT-B-16" => (OPENAI.vision, 16, 224, 512),
            "ViT-L-14" => (openai_tower(1024, 24), 14, 224, 768),
            "ViT-L-14-336" => (openai_tower(1024, 24), 14, 336, 768),
            _ => {
                let expected = "ViT-B-32, ViT-B-16, ViT-L-14 or ViT-L-14-336";
                return Err(Error::argument("architecture", format!("{architecture:?}"), expected));
            }
        };
        Ok(Self { vision, image_size, patch_size, text: openai_tower(embed, 12), embed, ..OPENAI })
    }

    /// The config of a model's folder, which is named as for [`Model::load`](crate::Model::load); reads no weights.
    /// `activation` overrides the config's.
    ///
    /// # Errors
    /// As [`Model::load`](crate::Model::load) for configs and for models of another architecture.
    pub fn open(model: impl AsRef<Path>, activation: Option<Activation>) -> Result<Self> {
        super::open_files(&Source::open(model.as_ref())?, activation).map(|(_, _, config)| config)
    }

    /// The plan of a picture's views for this model: the global view, then one view a box. `picture` is its width and
    /// height.
    ///
    /// # Errors
    /// When a box is not inside the picture.
    pub fn plan_views(&self, picture: (u32, u32), boxes: &[CropBox]) -> Result<CropPlan> {
        plan_views(picture, boxes, self.image_size, self.resize)
    }

    /// Number of patches a view.
    pub fn patches(&self) -> usize {
        ((self.image_size / self.patch_size) as usize).pow(2)
    }

    /// Floating-point operations of the vision tower for one view: 2 for each multiply-add of the matrix products
    /// and of attention, nothing for the rest. ViT-B/32: 8.8 GFLOP.
    pub fn vision_flops(&self) -> f64 {
        let TowerConfig { width, layers, mlp, .. } = self.vision;
        let (patches, tokens) = (self.patches(), self.patches() + 1);
        let block = tokens * (4 * width * width + 2 * width * mlp) + 2 * tokens * tokens * width;
        let patch = 3 * (self.patch_size as usize).pow(2) * width;
        2.0 * (patches * patch + layers * block + width * self.embed) as f64
    }

    /// Reads a model's config: from the file of the library whose layout the weights have, else from the other
    /// library's, else from the tensors' shapes. Every field in a file is implemented, known to be irrelevant, or
    /// refused.
    pub(crate) fn load(
        source: &Source,
        layout: Layout,
        weights: &dyn Weights,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let names = if layout == Layout::Transformers { [TRANSFORMERS, OPEN_CLIP] } else { [OPEN_CLIP, TRANSFORMERS] };
        let (mut config, own) = match names.into_iter().find(|name| source.has(name)) {
            Some(OPEN_CLIP) => open_clip::read(Fields::open(source, OPEN_CLIP)?, activation)?,
            Some(_) => (transformers::read(Fields::open(source, TRANSFORMERS)?, activation)?, None),
            None if layout == Layout::Transformers => {
                let expected = format!("{TRANSFORMERS} or {OPEN_CLIP} beside the weights");
                return Err(Error::file(&source.path(TRANSFORMERS), "config", "no such file", expected));
            }
            None => (shapes::read(layout, weights, activation)?, None),
        };
        let processor = processor::read(source, config.image_size)?;
        if let (Some(own), Some(processor)) = (own, processor)
            && own != processor
        {
            let (found, expected) = (format!("{own:?}"), format!("{processor:?}, as the processor's file says"));
            return Err(Error::file(&source.path(OPEN_CLIP), "preprocess_cfg", found, expected));
        }
        if let Some(Preprocessing { mean, std, resize }) = own.or(processor) {
            (config.mean, config.std, config.resize) = (mean, std, resize);
        }
        Ok(config)
    }

    /// Refuses dimensions that contradict each other.
    fn check(&self, path: &Path) -> Result<()> {
        let error = |what: String, found: String, expected: &str| Err(Error::file(path, what, found, expected));
        if self.embed == 0 {
            return error("embedding width".into(), "0".into(), "at least 1");
        }
        for (name, tower) in [("vision", &self.vision), ("text", &self.text)] {
            let TowerConfig { width, heads, layers, mlp, .. } = *tower;
            if width == 0 || heads == 0 || layers == 0 || mlp == 0 || !width.is_multiple_of(heads) {
                let found = format!("width {width}, {heads} heads, {layers} layers, MLP {mlp}");
                let expected = "at least 1 each, a width that is a multiple of the heads";
                return error(format!("{name} tower"), found, expected);
            }
        }
        if !(1..=4096).contains(&self.image_size) || !self.image_size.is_multiple_of(self.patch_size) {
            let found = format!("{} with patches of {}", self.image_size, self.patch_size);
            return error("image size".into(), found, "a multiple of the patch size, from 1 to 4096");
        }
        Ok(())
    }
}
