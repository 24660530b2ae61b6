//! CLIP: config, weights, tokenizer, and the two towers' forward passes, written once over a [`Backend`](crate::backend::Backend).

mod average;
mod bpe;
mod checkpoint;
mod cleaning;
mod config;
mod foreign;
mod layout;
#[cfg(feature = "mini")]
mod mini;
mod random;
mod source;
mod text;
mod tokenizer;
mod transformer;
mod vision;
mod weights;

use crate::backend::{Device, Precision};
use crate::error::{Error, Result};
use layout::{Layout, Tower};
use random::RandomWeights;
use source::Source;
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use text::TextTower;
use transformer::Loader;
use vision::VisionTower;
use weights::WeightFiles;

pub use crate::backend::Activation;
pub use config::{Config, Pooling, TowerConfig};
#[cfg(feature = "mini")]
pub use mini::MINI_PROMPTS;
pub use tokenizer::{TextCleaning, Tokenizer, Tokens};
pub use vision::ViewJob;

/// Which of CLIP's towers to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Towers {
    /// Vision and text.
    #[default]
    Both,
    /// Vision only: enough to use a compiled classifier.
    Vision,
    /// Text only: enough to compile one.
    Text,
}

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// `auto`, `cpu`, `wgpu[:N]`, `cuda[:N]`, `cuda:all` or `reference`.
    pub device: String,
    /// Threads of the CPU backend; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Storage of the weights.
    pub precision: Precision,
    /// The towers to load.
    pub towers: Towers,
    /// What is done to texts before the tokenizer sees them.
    pub text_cleaning: TextCleaning,
    /// Overrides the config's activation; needed where a model has no config.
    pub activation: Option<Activation>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            device: "auto".into(),
            threads: 0,
            precision: Precision::F32,
            towers: Towers::Both,
            text_cleaning: TextCleaning::None,
            activation: None,
        }
    }
}

/// Rows of f32, one an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Elements of a row.
    pub width: usize,
    /// All rows, one after the other.
    pub data: Vec<f32>,
}

impl Embeddings {
    /// The rows.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.width)
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..][..self.width]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// What [`Model::encode_texts`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEmbeddings {
    /// One row a text.
    pub embeddings: Embeddings,
    /// How many texts were longer than the model's context and lost their end.
    pub truncated: usize,
}

/// A CLIP model on a device. Clones share it.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    device: Device,
    /// The vision tower on further devices, with which it shares the pictures.
    replicas: Vec<(Device, VisionTower<Device>)>,
    config: Config,
    fingerprint: String,
    vision: Option<VisionTower<Device>>,
    text: Option<(Tokenizer, TextTower<Device>)>,
}

impl Model {
    /// Loads a model's folder: `model.safetensors` or `open_clip_model.safetensors` (whole, or in parts with their index;
    /// else the only other safetensors file), the config beside it, and for the text tower `tokenizer.json`, `vocab.json`
    /// with `merges.txt`, or OpenAI's `bpe_simple_vocab_16e6.txt.gz`. The path of a weights file stands for its folder
    /// with this file.
    ///
    /// # Errors
    /// When a file is missing or damaged; when a tensor is missing, is not used, has another shape than the config says, or
    /// holds a number that is not finite; when a config asks for what is not implemented; when it is another
    /// architecture; or when the device cannot be opened.
    ///
    /// ```no_run
    /// use crossalign::{Model, ModelOptions};
    /// let model = Model::load("clip-vit-base-patch32", &ModelOptions::default())?;
    /// println!("{} pixels, {} dimensions", model.config().image_size, model.config().embed);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn load(dir: impl AsRef<Path>, options: &ModelOptions) -> Result<Self> {
        Self::from_source(&Source::open(dir.as_ref())?, options)
    }

    fn from_source(source: &Source, options: &ModelOptions) -> Result<Self> {
        let names = Device::names(&options.device)?;
        let device = Device::open(&names[0], options.threads)?;
        let (weights, layout, config) = open_files(source, options.activation)?;
        let loader = Loader { device: &device, weights: &weights, layout, precision: options.precision };
        let vision = match options.towers {
            Towers::Text => None,
            _ => Some(VisionTower::load(&loader, &config)?),
        };
        let replica = |name: &String| -> Result<(Device, VisionTower<Device>)> {
            let device = Device::open(name, options.threads)?;
            let tower = VisionTower::load(&Loader { device: &device, ..loader }, &config)?;
            Ok((device, tower))
        };
        let further = if vision.is_some() { &names[1..] } else { &[] };
        let replicas = further.iter().map(replica).collect::<Result<_>>()?;
        let text = match options.towers {
            Towers::Vision => None,
            _ => {
                let tokenizer = Tokenizer::load(source, options.text_cleaning, &config)?;
                Some((tokenizer, TextTower::load(&loader, &config)?))
            }
        };
        layout.check_all_read(
            &weights,
            match options.towers {
                Towers::Both => None,
                Towers::Vision => Some(Tower::Text),
                Towers::Text => Some(Tower::Vision),
            },
        )?;
        let fingerprint = format!("{:032x}", weights.fingerprint(&format!("{config:?}")));
        Ok(Self(Arc::new(Inner { device, replicas, config, fingerprint, vision, text })))
    }

    /// A vision tower with random weights, to measure speed without a download; it has no text tower.
    ///
    /// # Errors
    /// When the device cannot be opened.
    pub fn random(config: Config, options: &ModelOptions) -> Result<Self> {
        let device = Device::open(&options.device, options.threads)?;
        let weights = RandomWeights::new(&config);
        let loader =
            Loader { device: &device, weights: &weights, layout: Layout::Transformers, precision: options.precision };
        let vision = Some(VisionTower::load(&loader, &config)?);
        let (fingerprint, replicas) = ("random".into(), Vec::new());
        Ok(Self(Arc::new(Inner { device, replicas, config, fingerprint, vision, text: None })))
    }

    /// The model's dimensions.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The device that the model runs on; the first of several.
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// How many devices share the pictures of a call.
    pub fn devices(&self) -> usize {
        1 + self.0.replicas.len()
    }

    /// What tells this model from others: a compiled classifier carries it.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// When the text tower was not loaded.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.text().map(|(tokenizer, _)| tokenizer)
    }

    /// Encodes the views of pictures, in order: as projected, or of unit length with `normalize`. Several devices share
    /// the pictures.
    ///
    /// # Errors
    /// When a plan is not for its picture or for another view size, or the vision tower was not loaded.
    pub fn encode_views(&self, jobs: &[ViewJob<'_>], normalize: bool) -> Result<Embeddings> {
        let vision = self.0.vision.as_ref().ok_or_else(|| missing("vision"))?;
        let size = self.0.config.image_size;
        if let Some(job) = jobs.iter().find(|job| job.plan.size() != size) {
            return Err(Error::argument("view size", job.plan.size().to_string(), size.to_string()));
        }
        let replicas = self.0.replicas.iter().map(|(device, tower)| (device, tower));
        let towers: Vec<_> = std::iter::once((&self.0.device, vision)).chain(replicas).collect();
        let share = jobs.len().div_ceil(towers.len()).max(1);
        let encode = |((device, tower), jobs): ((&Device, &VisionTower<Device>), &[ViewJob<'_>])| {
            tower.encode(device, jobs, normalize)
        };
        let parts: Vec<Result<Vec<f32>>> = std::thread::scope(|scope| {
            let mut parts = towers.into_iter().zip(jobs.chunks(share));
            let first = parts.next();
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || encode(part))).collect();
            let others = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            first.into_iter().map(encode).chain(others).collect()
        });
        let data = parts.into_iter().collect::<Result<Vec<_>>>()?.concat();
        Ok(Embeddings { width: self.0.config.embed, data })
    }

    /// Encodes texts, in order: as projected, or of unit length with `normalize`. Texts with equal tokens are
    /// encoded once; texts longer than the model's context lose their end and are counted.
    ///
    /// # Errors
    /// When a text cannot be tokenised, or the text tower was not loaded.
    pub fn encode_texts<T: AsRef<str>>(&self, texts: &[T], normalize: bool) -> Result<TextEmbeddings> {
        let (tokenizer, tower) = self.text()?;
        let mut truncated = 0;
        let mut places = HashMap::new();
        let mut unique = Vec::new();
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let tokens = tokenizer.encode(text.as_ref())?;
            truncated += usize::from(tokens.truncated);
            let ids = tokenizer.up_to_end(&tokens.ids).to_vec();
            rows.push(*places.entry(ids).or_insert_with_key(|ids| {
                unique.push(ids.clone());
                unique.len() - 1
            }));
        }
        let unique: Vec<&[u32]> = unique.iter().map(Vec::as_slice).collect();
        let width = self.0.config.embed;
        let encoded = Embeddings { width, data: tower.encode(&self.0.device, &unique, normalize)? };
        let data = rows.into_iter().flat_map(|row| encoded.row(row)).copied().collect();
        Ok(TextEmbeddings { embeddings: Embeddings { width, data }, truncated })
    }

    fn text(&self) -> Result<&(Tokenizer, TextTower<Device>)> {
        self.0.text.as_ref().ok_or_else(|| missing("text"))
    }
}

fn missing(tower: &str) -> Error {
    Error::argument(
        "towers",
        format!("a model without its {tower} tower"),
        format!("one loaded with its {tower} tower"),
    )
}

/// A model's weights, mapped, and its config.
fn open_files(source: &Source, activation: Option<Activation>) -> Result<(WeightFiles, Layout, Config)> {
    let weights = checkpoint::open(source)?;
    let layout = Layout::detect(&weights)?;
    let config = Config::load(source, layout, &weights, activation)?;
    Ok((weights, layout, config))
}
