//! A CLIP model: what is loaded on its devices, and what it encodes.

use super::{Device, Embeddings, Engine, Loading, TextEmbeddings, missing, open};
use crate::backend::{Activation, Precision, Profile};
use crate::block_on::block_on;
use crate::error::{Error, Result};
use crate::model::{Config, Layout, PictureViews, RandomWeights, Source, TextCleaning, Tokenizer, Tower, open_files};
use crate::options::with_fields;
use std::collections::HashMap;
use std::fmt;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

/// Which of CLIP's towers to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Towers {
    /// Vision and text.
    #[default]
    Both,
    /// Vision only: enough to use a compiled classifier.
    Vision,
    /// Text only: enough to compile a classifier.
    Text,
}

/// How a model is loaded.
///
/// ```
/// use crossalign::backend::Precision;
/// use crossalign::{Device, ModelOptions};
/// let options = ModelOptions::default().with_device(Device::cuda(0)).with_precision(Precision::F16);
/// assert_eq!(options.threads, 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Where the model runs.
    pub device: Device,
    /// Threads of the CPU backend; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Precision of the stored weights. None is `auto`: f16 on a GPU that has matrix units for it, and f32 elsewhere,
    /// also on the CPU. f16 costs little accuracy: the cosine of an embedding to the one in f32 was at least 0.99999
    /// with [`Model::mini`]. [`Model::precision`] tells which was chosen.
    pub precision: Option<Precision>,
    /// Views that a device encodes in one forward pass; 0: as many as fill it. Fewer take less of its memory. Results
    /// do not depend on it.
    pub views_at_once: usize,
    /// The towers to load.
    pub towers: Towers,
    /// How texts are cleaned before they are tokenised.
    pub text_cleaning: TextCleaning,
    /// Overrides the config's activation; needed where a model has no config.
    pub activation: Option<Activation>,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            device: Device::Auto,
            threads: 0,
            precision: None,
            views_at_once: 0,
            towers: Towers::Both,
            text_cleaning: TextCleaning::None,
            activation: None,
        }
    }
}

with_fields!(ModelOptions:
    with_device(device: Device),
    with_threads(threads: usize),
    with_precision(precision: impl Into<Option<Precision>>),
    with_views_at_once(views_at_once: usize),
    with_towers(towers: Towers),
    with_text_cleaning(text_cleaning: TextCleaning),
    with_activation(activation: impl Into<Option<Activation>>),
);

/// A CLIP model on a device. Clones share it.
///
/// Several threads may call it at once. Their forward passes take turns, batch by batch, on the one set of activations that
/// a device has: the results are right, but none is faster for it. To keep a device busy, give all pictures to one
/// [`stream`](Model::stream).
#[derive(Clone)]
pub struct Model(Arc<Inner>);

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, precision) = (self.device(), self.precision());
        let mut model = f.debug_struct("Model");
        model.field("device", &device).field("precision", &precision).field("fingerprint", &self.fingerprint());
        model.field("config", self.config()).finish_non_exhaustive()
    }
}

struct Inner {
    /// At least one; all but the first have the vision tower alone, and share the pictures.
    engines: Vec<Arc<dyn Engine>>,
    device_notes: Vec<String>,
    config: Config,
    fingerprint: String,
    tokenizer: Option<Tokenizer>,
}

impl Model {
    /// Loads a model's folder: `model.safetensors` or `open_clip_model.safetensors` (whole, or in parts with their index;
    /// else the only other safetensors file), the config beside it, and for the text tower `tokenizer.json`, `vocab.json`
    /// with `merges.txt`, or OpenAI's `bpe_simple_vocab_16e6.txt.gz`. The path of a weights file means its folder, with
    /// the weights from this file.
    ///
    /// With the feature `hub`, a path that does not exist and has the form `ORG/NAME` or `ORG/NAME@REVISION` is a model of
    /// Hugging Face's hub, in the environment's cache or fetched into it (`hub::Hub::fetch`, by which a caller sees how that
    /// goes on).
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
        block_on(Self::from_source(&Source::open(dir.as_ref())?, options))
    }

    /// Loads the built-in model; `models/mini/README.md` says what it can do and what it cannot.
    ///
    /// # Errors
    /// When the device cannot be opened.
    ///
    /// ```
    /// use crossalign::model::MINI_PROMPTS;
    /// use crossalign::{Model, Picture, Prompts};
    /// # let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/models/mini/example.png");
    /// let prompts = Prompts::from_json(MINI_PROMPTS)?;
    /// let classifier = Model::mini(&Default::default())?.compile(&prompts, &Default::default())?;
    /// let result = classifier.classify(&Picture::open(picture, &Default::default())?)?;
    /// println!("{}", result.predictions()[0].class);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    #[cfg(feature = "mini")]
    pub fn mini(options: &ModelOptions) -> Result<Self> {
        block_on(Self::mini_async(options))
    }

    /// As [`Model::mini`], for a browser, where a device is opened later. Natively it blocks.
    ///
    /// # Errors
    /// As [`Model::mini`].
    ///
    /// ```
    /// use crossalign::model::MINI_PROMPTS;
    /// use crossalign::{Device, Model, ModelOptions, Picture, Prompts};
    ///
    /// async fn best(file: &[u8]) -> crossalign::Result<String> {
    ///     let model = Model::mini_async(&ModelOptions::default().with_device(Device::wgpu(0))).await?;
    ///     let classifier = model.compile_async(&Prompts::from_json(MINI_PROMPTS)?, &Default::default()).await?;
    ///     let result = classifier.classify_async(&Picture::decode(file, &Default::default())?).await?;
    ///     Ok(result.predictions()[0].class.into())
    /// }
    /// ```
    #[cfg(feature = "mini")]
    pub async fn mini_async(options: &ModelOptions) -> Result<Self> {
        Self::from_source(&crate::model::MINI, options).await
    }

    async fn from_source(source: &Source, options: &ModelOptions) -> Result<Self> {
        let devices = open::each(&options.device)?;
        let (weights, layout, config) = open_files(source, options.activation)?;
        let towers = options.towers;
        // Before the towers, which take longer: a tokenizer that does not match the config is reported at once.
        let tokenizer = (towers != Towers::Vision).then(|| Tokenizer::load(source, options.text_cleaning, &config));
        let tokenizer = tokenizer.transpose()?;
        let loading = |towers| Loading { weights: &weights, layout, config: &config, options, towers };
        let (first, device_notes) = open::open(&devices[0], options.threads, Some(&loading(towers))).await?;
        let mut engines = vec![first];
        let further = if towers == Towers::Text { &[] } else { &devices[1..] };
        for device in further {
            engines.push(open::open(device, options.threads, Some(&loading(Towers::Vision))).await?.0);
        }
        let left_out = match towers {
            Towers::Both => None,
            Towers::Vision => Some(Tower::Text),
            Towers::Text => Some(Tower::Vision),
        };
        layout.check_all_read(&weights, left_out)?;
        let fingerprint = format!("{:032x}", weights.fingerprint(&format!("{config:?}")));
        Ok(Self(Arc::new(Inner { engines, device_notes, config, fingerprint, tokenizer })))
    }

    /// A vision tower with random weights, to measure speed without a download; it has no text tower.
    ///
    /// # Errors
    /// When the device cannot be opened.
    pub fn random(config: Config, options: &ModelOptions) -> Result<Self> {
        let weights = RandomWeights::new(&config);
        let (layout, towers) = (Layout::Transformers, Towers::Vision);
        let loading = Loading { weights: &weights, layout, config: &config, options, towers };
        let (engine, device_notes) = block_on(open::open(&options.device, options.threads, Some(&loading)))?;
        let (engines, fingerprint, tokenizer) = (vec![engine], "random".into(), None);
        Ok(Self(Arc::new(Inner { engines, device_notes, config, fingerprint, tokenizer })))
    }

    /// The model's dimensions.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// A description of the device that the model runs on, the first of several: kind, instruction set, threads.
    pub fn device(&self) -> String {
        self.engine().facts().description.clone()
    }

    /// One line for each device that `auto` prefers but could not use, with the reason; none for a device without a
    /// driver.
    pub fn device_notes(&self) -> &[String] {
        &self.0.device_notes
    }

    /// Threads that compute on the host: those of the CPU backend, else 1.
    pub fn threads(&self) -> usize {
        self.engine().facts().threads
    }

    /// The precision of the stored weights, on the first of several devices.
    pub fn precision(&self) -> Precision {
        self.engine().facts().precision
    }

    /// How many views the devices encode at once, together.
    pub fn preferred_views(&self) -> usize {
        self.views_at_once().iter().sum()
    }

    /// How many views each device encodes at once: without the vision tower 1, but never fewer than its threads.
    pub(crate) fn views_at_once(&self) -> Vec<usize> {
        self.0.engines.iter().map(|engine| engine.facts().views_at_once).collect()
    }

    /// How many devices share the pictures of a call.
    pub fn devices(&self) -> usize {
        self.0.engines.len()
    }

    /// Runs `work` and profiles what it submits to the model's first device; `None` where that is not a GPU. Profiles
    /// do not nest, and include what other threads submit meanwhile.
    pub fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Option<Profile>) {
        let (mut work, mut result) = (Some(work), None);
        let profile = self.engine().profile(&mut || result = work.take().map(|work| work()));
        (result.expect("a profile runs its work"), profile)
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.0.engines[0]
    }

    pub(crate) fn engines(&self) -> &[Arc<dyn Engine>] {
        &self.0.engines
    }

    /// Identifies the model, and is stored in compiled classifiers: a hash of its config, of the headers of its weights
    /// and of the start of each tensor; `random` for random weights.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// When the text tower was not loaded.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.0.tokenizer.as_ref().ok_or_else(|| missing("text"))
    }

    /// Encodes the views of pictures, `[views of all pictures, D]` in order: of unit length with `normalize`, else as
    /// projected. Several devices share the pictures.
    ///
    /// # Errors
    /// When a plan is not for its picture or for another view size, or the vision tower was not loaded.
    pub fn encode_views(&self, jobs: &[PictureViews<'_>], normalize: bool) -> Result<Embeddings> {
        let size = self.0.config.image_size;
        if let Some(job) = jobs.iter().find(|job| job.plan.size() != size) {
            return Err(Error::argument("view size", job.plan.size().to_string(), size.to_string()));
        }
        let encode =
            |device: usize, jobs: &[PictureViews<'_>]| self.0.engines[device].encode_views(jobs, normalize)?.wait();
        let data = spread(self.devices(), jobs, encode)?;
        Ok(Embeddings { width: self.0.config.embed, data })
    }

    /// Encodes texts, `[texts, D]` in order: of unit length with `normalize`, else as projected. Texts with equal
    /// tokens are encoded once; texts longer than the model's context lose their end and are counted.
    ///
    /// # Errors
    /// When a text cannot be tokenised, or the text tower was not loaded.
    pub fn encode_texts<T: AsRef<str>>(&self, texts: &[T], normalize: bool) -> Result<TextEmbeddings> {
        block_on(self.encode_texts_async(texts, normalize))
    }

    /// As [`Model::encode_texts`], for a browser.
    pub(crate) async fn encode_texts_async<T: AsRef<str>>(
        &self,
        texts: &[T],
        normalize: bool,
    ) -> Result<TextEmbeddings> {
        let tokenizer = self.tokenizer()?;
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
        let encoded = Embeddings { width, data: self.engine().encode_texts(&unique, normalize)?.await? };
        let data = rows.into_iter().flat_map(|row| encoded.row(row)).copied().collect();
        Ok(TextEmbeddings { embeddings: Embeddings { width, data }, truncated })
    }
}

/// Splits the items into equal shares, runs `work(device, share)` on all devices at once, and joins the results in
/// order.
///
/// # Errors
/// The error of the first share that fails.
pub(crate) fn spread<T: Sync, R: Clone + Send>(
    devices: usize,
    items: &[T],
    work: impl Fn(usize, &[T]) -> Result<Vec<R>> + Sync,
) -> Result<Vec<R>> {
    let (work, share) = (&work, items.len().div_ceil(devices).max(1));
    let parts: Result<Vec<Vec<R>>> = std::thread::scope(|scope| {
        let mut shares = items.chunks(share).enumerate();
        let first = shares.next();
        let start = |(device, items)| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || work(device, items));
            move || match thread {
                Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                Err(_) => work(device, items), // the system gives no more threads: run in turn
            }
        };
        let others: Vec<_> = shares.map(start).collect();
        let first = first.map(|(device, items)| work(device, items));
        first.into_iter().chain(others.into_iter().map(|finish| finish())).collect()
    });
    Ok(parts?.concat())
}
