//! A model's dimensions: from its config file, or from the tensors where there is none.

use super::layout::{BlockPart, Layout, Part, Tower};
use super::source::Source;
use super::weights::Weights;
use crate::backend::Activation;
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;

/// OpenAI's normalisation, CLIP's default (`OPENAI_DATASET_MEAN` and `…_STD`).
const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];
/// What a mean and a standard deviation of values in 0 ..= 1 can be, generously.
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
    /// Width of the MLP's middle.
    pub mlp: usize,
    /// The MLP's non-linearity.
    pub activation: Activation,
    /// Added to the variance in layer norms.
    pub eps: f32,
}

/// A CLIP model's dimensions.
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
    /// The text tower.
    pub text: TowerConfig,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// The most tokens of a text.
    pub context: usize,
    /// Width of an embedding.
    pub embed: usize,
}

impl Config {
    /// The dimensions of a published architecture, with quick_gelu: `ViT-B-32`, `ViT-B-16`, `ViT-L-14` or
    /// `ViT-L-14-336`.
    ///
    /// # Errors
    /// When the name is another.
    pub fn named(architecture: &str) -> Result<Self> {
        let tower = |width, layers| TowerConfig {
            width,
            layers,
            heads: width / OPENAI_HEAD,
            mlp: 4 * width,
            activation: Activation::QuickGelu,
            eps: 1e-5,
        };
        let (vision, patch_size, image_size, text) = match architecture {
            "ViT-B-32" => (tower(768, 12), 32, 224, 512),
            "ViT-B-16" => (tower(768, 12), 16, 224, 512),
            "ViT-L-14" => (tower(1024, 24), 14, 224, 768),
            "ViT-L-14-336" => (tower(1024, 24), 14, 336, 768),
            _ => {
                let expected = "ViT-B-32, ViT-B-16, ViT-L-14 or ViT-L-14-336";
                return Err(Error::argument("architecture", format!("{architecture:?}"), expected));
            }
        };
        Ok(Self {
            vision,
            image_size,
            patch_size,
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
            text: tower(text, 12),
            vocabulary: 49_408,
            context: 77,
            embed: text,
        })
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

    /// Reads the config that belongs to a layout.
    pub(crate) fn load(
        source: &Source,
        layout: Layout,
        weights: &dyn Weights,
        activation: Option<Activation>,
    ) -> Result<Self> {
        let (open_clip, preprocessor) = ("open_clip_config.json", "preprocessor_config.json");
        let mut config = match layout {
            Layout::Transformers => Self::from_transformers(&Fields::read(source, "config.json")?, activation)?,
            Layout::Packed { .. } if source.has(open_clip) => {
                Self::from_open_clip(&Fields::read(source, open_clip)?, activation)?
            }
            Layout::Packed { .. } => Self::from_shapes(layout, weights, activation)?,
        };
        if source.has(preprocessor) {
            config.read_preprocessor(&Fields::read(source, preprocessor)?)?;
        }
        Ok(config)
    }

    /// `config.json`; a field that is missing has the default of transformers' `CLIPConfig`.
    fn from_transformers(fields: &Fields, activation: Option<Activation>) -> Result<Self> {
        fields.must_be("model_type", &["clip"])?;
        let (vision, text) = (fields.section("vision_config"), fields.section("text_config"));
        let tower = |fields: &Fields, width, heads, mlp| -> Result<TowerConfig> {
            let named = fields.activation("hidden_act", Activation::QuickGelu);
            Ok(TowerConfig {
                width: fields.count("hidden_size", width)?,
                layers: fields.count("num_hidden_layers", 12)?,
                heads: fields.count("num_attention_heads", heads)?,
                mlp: fields.count("intermediate_size", mlp)?,
                activation: activation.map_or(named, Ok)?,
                eps: fields.number("layer_norm_eps", 1e-5)?,
            })
        };
        if vision.count("num_channels", 3)? != 3 {
            return Err(vision.error("num_channels", vision.count("num_channels", 3)?.to_string(), "3"));
        }
        Self {
            vision: tower(&vision, 768, 12, 3072)?,
            image_size: vision.count("image_size", 224)? as u32,
            patch_size: vision.count("patch_size", 32)? as u32,
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
            text: tower(&text, 512, 8, 2048)?,
            vocabulary: text.count("vocab_size", 49_408)?,
            context: text.count("max_position_embeddings", 77)?,
            embed: fields.count("projection_dim", 512)?,
        }
        .check(fields)
    }

    /// `open_clip_config.json`; a field that is missing has the default of open_clip's `CLIPVisionCfg` and `CLIPTextCfg`.
    fn from_open_clip(fields: &Fields, activation: Option<Activation>) -> Result<Self> {
        let (model, preprocess) = (fields.section("model_cfg"), fields.section("preprocess_cfg"));
        let (vision, text) = (model.section("vision_cfg"), model.section("text_cfg"));
        for (section, field) in [(&vision, "timm_model_name"), (&text, "hf_model_name"), (&vision, "attentional_pool")]
        {
            section.must_be(field, &[])?;
        }
        vision.must_be("pool_type", &["tok"])?;
        text.must_be("pool_type", &["argmax"])?;
        preprocess.must_be("interpolation", &["bicubic"])?;
        preprocess.must_be("resize_mode", &["shortest"])?;
        let activation = activation.unwrap_or(match model.get("quick_gelu") {
            Some(Value::Bool(true)) => Activation::QuickGelu,
            _ => Activation::Gelu,
        });
        let tower = |fields: &Fields, width, heads| -> Result<TowerConfig> {
            let width = fields.count("width", width)?;
            let ratio = fields.number("mlp_ratio", 4.0)?;
            Ok(TowerConfig {
                width,
                layers: fields.count("layers", 12)?,
                heads: match heads {
                    Some(heads) => fields.count("heads", heads)?,
                    None => width / fields.count("head_width", 64)?,
                },
                mlp: (width as f32 * ratio) as usize,
                activation,
                eps: 1e-5,
            })
        };
        Self {
            vision: tower(&vision, 768, None)?,
            image_size: vision.count("image_size", 224)? as u32,
            patch_size: vision.count("patch_size", 16)? as u32,
            mean: preprocess.triple("mean", OPENAI_MEAN, MEANS)?,
            std: preprocess.triple("std", OPENAI_STD, STDS)?,
            text: tower(&text, 512, Some(8))?,
            vocabulary: text.count("vocab_size", 49_408)?,
            context: text.count("context_length", 77)?,
            embed: model.count("embed_dim", 512)?,
        }
        .check(fields)
    }

    /// OpenAI's own files: everything but the activation can be read off the shapes.
    fn from_shapes(layout: Layout, weights: &dyn Weights, activation: Option<Activation>) -> Result<Self> {
        let path = weights.path();
        let activation = activation.ok_or_else(|| {
            Error::file(
                path,
                "activation",
                "no config file that tells it",
                "open_clip_config.json, or the activation as an option (OpenAI's weights: quick_gelu)",
            )
        })?;
        let dimensions = |name: String, rank: usize| -> Result<Vec<usize>> {
            let shape = weights.shape(&name)?;
            if shape.len() == rank && shape.iter().all(|&n| n > 0 && n as u64 <= MAX_DIMENSION) {
                Ok(shape.to_vec())
            } else {
                Err(Error::file(
                    path,
                    format!("tensor {name}"),
                    format!("shape {shape:?}"),
                    format!("{rank} dimensions"),
                ))
            }
        };
        let tower = |tower: Tower, width: usize| -> Result<TowerConfig> {
            Ok(TowerConfig {
                width,
                layers: layout.count_blocks(weights, tower),
                heads: width / OPENAI_HEAD,
                mlp: dimensions(layout.block_part(tower, 0, BlockPart::Up) + ".weight", 2)?[0],
                activation,
                eps: 1e-5,
            })
        };
        let patch = dimensions(layout.part(Part::PatchEmbedding) + ".weight", 4)?;
        let positions = dimensions(layout.part(Part::VisionPositions), 2)?[0];
        let tokens = dimensions(layout.part(Part::TokenEmbedding) + ".weight", 2)?;
        let side = (positions - 1).isqrt();
        Self {
            vision: tower(Tower::Vision, patch[0])?,
            image_size: (side * patch[3]).min(u32::MAX as usize) as u32,
            patch_size: patch[3] as u32,
            mean: OPENAI_MEAN,
            std: OPENAI_STD,
            text: tower(Tower::Text, tokens[1])?,
            vocabulary: tokens[0],
            context: dimensions(layout.part(Part::TextPositions), 2)?[0],
            embed: layout.embed_width(weights)?,
        }
        .check(&Fields { path: path.to_owned(), prefix: String::new(), value: Value::Null })
    }

    /// `preprocessor_config.json`: mean and std; anything that is not CLIP's way of resizing is refused.
    fn read_preprocessor(&mut self, fields: &Fields) -> Result<()> {
        self.mean = fields.triple("image_mean", self.mean, MEANS)?;
        self.std = fields.triple("image_std", self.std, STDS)?;
        let bicubic = 3; // Pillow's BICUBIC
        let resample = fields.count("resample", bicubic)?;
        if resample != bicubic {
            return Err(fields.error("resample", resample.to_string(), "3 (bicubic)"));
        }
        let size = self.image_size as usize;
        for (field, key) in [("size", "shortest_edge"), ("crop_size", "height"), ("crop_size", "width")] {
            let found = match fields.get(field) {
                Some(Value::Object(_)) => fields.section(field).count(key, size)?,
                _ => fields.count(field, size)?,
            };
            if found != size {
                return Err(fields.error(field, found.to_string(), format!("{size}, the model's image size")));
            }
        }
        Ok(())
    }

    /// Refuses dimensions that contradict each other.
    fn check(self, fields: &Fields) -> Result<Self> {
        if self.embed == 0 {
            return Err(fields.error("embedding width", "0", "at least 1"));
        }
        for (name, tower) in [("vision", &self.vision), ("text", &self.text)] {
            let TowerConfig { width, heads, layers, mlp, .. } = *tower;
            if width == 0 || heads == 0 || layers == 0 || mlp == 0 || !width.is_multiple_of(heads) {
                return Err(fields.error(
                    &format!("{name} tower"),
                    format!("width {width}, {heads} heads, {layers} layers, MLP {mlp}"),
                    "at least 1 each, a width that is a multiple of the heads",
                ));
            }
        }
        if !(1..=4096).contains(&self.image_size) || !self.image_size.is_multiple_of(self.patch_size) {
            return Err(fields.error(
                "image size",
                format!("{} with patches of {}", self.image_size, self.patch_size),
                "a multiple of the patch size, from 1 to 4096",
            ));
        }
        Ok(self)
    }
}

/// A JSON object of a config file, with its place for messages.
struct Fields {
    path: PathBuf,
    /// Where in the file the object is: `"vision_config."`, or empty.
    prefix: String,
    value: Value,
}

impl Fields {
    fn read(source: &Source, name: &str) -> Result<Self> {
        let (path, bytes) = (source.path(name), source.read(name)?);
        match serde_json::from_slice(&bytes) {
            Ok(value @ Value::Object(_)) => Ok(Self { path, prefix: String::new(), value }),
            Ok(_) => Err(Error::file(&path, "config", "another JSON value", "a JSON object")),
            Err(error) => Err(Error::file(&path, "config", error.to_string(), "a JSON object")),
        }
    }

    /// A nested object; empty where it is missing.
    fn section(&self, name: &str) -> Self {
        let value = self.value.get(name).cloned().unwrap_or(Value::Null);
        Self { path: self.path.clone(), prefix: format!("{}{name}.", self.prefix), value }
    }

    /// A field, unless it is missing or null.
    fn get(&self, name: &str) -> Option<&Value> {
        self.value.get(name).filter(|value| !value.is_null())
    }

    fn error(&self, name: &str, found: impl Into<String>, expected: impl Into<String>) -> Error {
        Error::file(&self.path, format!("{}{name}", self.prefix), found, expected)
    }

    /// A whole number from 1 to `MAX_DIMENSION`.
    fn count(&self, name: &str, default: usize) -> Result<usize> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.as_u64() {
                Some(count) if (1..=MAX_DIMENSION).contains(&count) => Ok(count as usize),
                _ => Err(self.error(name, value.to_string(), format!("a whole number from 1 to {MAX_DIMENSION}"))),
            },
        }
    }

    /// A positive number.
    fn number(&self, name: &str, default: f32) -> Result<f32> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(number) if number > 0.0 && number < 1e6 => Ok(number as f32),
                _ => Err(self.error(name, value.to_string(), "a positive number")),
            },
        }
    }

    /// Three numbers, one a channel, of a size that means and standard deviations have.
    fn triple(&self, name: &str, default: [f32; 3], range: std::ops::Range<f64>) -> Result<[f32; 3]> {
        let Some(value) = self.get(name) else { return Ok(default) };
        let number = |n: &Value| n.as_f64().filter(|n| range.contains(n)).map(|n| n as f32);
        let numbers: Option<Vec<f32>> = value.as_array().and_then(|list| list.iter().map(number).collect());
        numbers
            .and_then(|numbers| <[f32; 3]>::try_from(numbers).ok())
            .ok_or_else(|| self.error(name, value.to_string(), format!("three numbers in {range:?}")))
    }

    fn activation(&self, name: &str, default: Activation) -> Result<Activation> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| self.error(name, value.to_string(), "quick_gelu, gelu or gelu_tanh")),
        }
    }

    /// The field, where it is there, must be one of these texts.
    fn must_be(&self, name: &str, texts: &[&str]) -> Result<()> {
        match self.get(name) {
            Some(value) if value.as_str().is_none_or(|text| !texts.contains(&text)) => {
                let expected = if texts.is_empty() {
                    "no such field: it is not CLIP's own ViT".into()
                } else {
                    texts.join(" or ")
                };
                Err(self.error(name, value.to_string(), expected))
            }
            _ => Ok(()),
        }
    }
}
