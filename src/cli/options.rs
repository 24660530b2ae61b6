//! Options that several subcommands share.

use super::labels::Labels;
use super::{hub, input, report};
use crate::align::{CompileOptions, CompiledClassifier, Method, Prompts, Reduction, Score, StreamOptions, Views};
use crate::backend::{Activation, Precision};
use crate::engine::{Device, Model, ModelOptions, Towers};
use crate::error::{Error, Result};
use crate::image::{CropBox, DecodeOptions, ViewSampling};
use crate::model::TextCleaning;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Once;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(clap::Args)]
pub(super) struct DeviceArgs {
    /// auto, cpu, wgpu[:N|:NAME], cuda[:N|:UUID|:all] or reference
    #[arg(long, default_value = "auto")]
    device: String,
    /// Of the weights and what meets them: f32, f16, bf16 or int8 (or fp32, float16, half, …); auto is f16 on GPUs with
    /// matrix units, f32 elsewhere
    #[arg(long, default_value = "auto", value_name = "auto|…", value_parser = parse_precision)]
    precision: AutoPrecision,
    /// Threads of the CPU backend, and that decode pictures [default: all]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(super) threads: usize,
}

/// None for `auto`.
type AutoPrecision = Option<Precision>;

fn parse_precision(text: &str) -> Result<AutoPrecision> {
    if text == "auto" { Ok(None) } else { text.parse().map(Some) }
}

#[derive(clap::Args)]
pub(super) struct ModelArgs {
    /// Folder with the weights (safetensors), config and tokenizer.json; a model's name on the hub; or mini: the built-in
    /// model [default: mini]
    ///
    /// A name is ORG/NAME, as openai/clip-vit-base-patch32, or ORG/NAME@REVISION. What the cache (HF_HOME) lacks of the
    /// model is fetched. A folder goes before a name.
    #[arg(long, value_name = "DIR|ORG/NAME|mini")]
    model: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Cleaning of texts before tokenizer.json sees them: none or openai
    #[arg(long, default_value = "none")]
    text_cleaning: TextCleaning,
    /// Overrides the config's activation: quick_gelu, gelu or gelu_tanh
    #[arg(long)]
    activation: Option<Activation>,
}

impl DeviceArgs {
    pub(super) fn options(&self) -> Result<ModelOptions> {
        let device: Device = self.device.parse()?;
        Ok(ModelOptions { device, threads: self.threads, precision: self.precision, ..ModelOptions::default() })
    }
}

/// Reports why `auto` did not take a device.
pub(super) fn report_notes(notes: &[String]) {
    notes.iter().for_each(|note| report(&format!("warning: {note}")));
}

impl ModelArgs {
    pub(super) fn load(&self, towers: Towers) -> Result<Model> {
        let options = ModelOptions {
            towers,
            text_cleaning: self.text_cleaning,
            activation: self.activation,
            ..self.device.options()?
        };
        let model = match self.folder() {
            Some(folder) => Model::load(hub::fetch(folder)?, &options)?,
            None => load_mini(&options)?,
        };
        report_notes(model.device_notes());
        Ok(model)
    }

    /// The options of a stream of pictures to the model.
    pub(super) fn stream(&self, decode: &DecodeArgs) -> StreamOptions {
        StreamOptions::default().with_threads(self.device.threads).with_decode(decode.options())
    }

    /// The model's folder or its name on the hub; none for the built-in one.
    pub(super) fn folder(&self) -> Option<&Path> {
        self.model.as_deref().filter(|&model| model != Path::new(MINI))
    }

    fn is_mini(&self) -> bool {
        self.folder().is_none()
    }

    /// Warns, once a run, of a photograph that goes to mini where `--model` does not name it.
    pub(super) fn warn_of_photograph(&self, path: &Path, photograph: bool) {
        static ONCE: Once = Once::new();
        if photograph && self.model.is_none() {
            let advice = "for photographs give a CLIP folder with --model";
            ONCE.call_once(|| {
                report(&format!("warning: {}: a photograph, and mini knows drawings only: {advice}", path.display()));
            });
        }
    }

    /// The prompts that are given, or mini's own where there are none. Options that do not go together are reported
    /// first.
    pub(super) fn prompts(&self, prompts: &PromptArgs) -> Result<Prompts> {
        prompts.options().check()?;
        let labels = prompts.labels.as_ref().map(Labels::read).transpose()?;
        let (labels, needs_texts) = (labels.as_deref(), prompts.method != Method::Clip);
        match (&prompts.prompts, labels) {
            (Some(path), _) => read_prompts(path, labels),
            (None, _) if self.is_mini() && (needs_texts || labels.is_none()) => mini_prompts(labels),
            (None, Some(labels)) => Prompts::from_labels(labels),
            (None, None) => Err(Error::argument("prompts", "none", "--prompts or --labels")),
        }
    }
}

/// The built-in model's name.
pub(super) const MINI: &str = "mini";

#[cfg(feature = "mini")]
pub(super) fn load_mini(options: &ModelOptions) -> Result<Model> {
    Model::mini(options)
}

#[cfg(feature = "mini")]
fn mini_prompts(labels: Option<&[String]>) -> Result<Prompts> {
    prompts_from_json(crate::model::MINI_PROMPTS, labels)
}

#[cfg(not(feature = "mini"))]
pub(super) fn load_mini(_: &ModelOptions) -> Result<Model> {
    Err(Error::argument("model", MINI, "a folder: this program was built without the feature mini"))
}

#[cfg(not(feature = "mini"))]
fn mini_prompts(_: Option<&[String]>) -> Result<Prompts> {
    Err(Error::argument("prompts", "none", "a prompts file: this program was built without the feature mini"))
}

#[derive(clap::Args)]
pub(super) struct DecodeArgs {
    /// Ignore the EXIF orientation
    #[arg(long)]
    no_exif_rotation: bool,
    /// Refuse pictures of more pixels
    #[arg(long, default_value_t = DecodeOptions::default().max_pixels)]
    max_pixels: u64,
}

impl DecodeArgs {
    pub(super) fn options(&self) -> DecodeOptions {
        DecodeOptions { exif_rotation: !self.no_exif_rotation, max_pixels: self.max_pixels }
    }
}

#[derive(clap::Args)]
pub(super) struct ViewArgs {
    /// Number of random local views
    #[arg(long, default_value_t = ViewSampling::default().count)]
    views: usize,
    /// Smallest side of a crop as a share of the picture's shorter side
    #[arg(long, default_value_t = ViewSampling::default().alpha)]
    alpha: f64,
    /// Largest side of a crop as a share of the picture's shorter side
    #[arg(long, default_value_t = ViewSampling::default().beta)]
    beta: f64,
    /// Another seed gives other crops
    #[arg(long, default_value_t = ViewSampling::default().seed)]
    seed: u64,
    /// JSON file of boxes [[x, y, width, height], …] to take instead of random crops
    #[arg(long, value_name = "FILE|-")]
    boxes: Option<PathBuf>,
}

impl ViewArgs {
    /// The files that are read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        self.boxes.as_deref().into_iter().collect()
    }

    pub(super) fn sampling(&self) -> Result<ViewSampling> {
        let sampling = ViewSampling { count: self.views, alpha: self.alpha, beta: self.beta, seed: self.seed };
        sampling.check()?;
        Ok(sampling)
    }

    pub(super) fn views(&self) -> Result<Views> {
        let sampling = self.sampling()?;
        Ok(match &self.boxes {
            Some(path) => Views::Boxes(read_boxes(path)?),
            None => Views::Sampled(sampling),
        })
    }
}

pub(super) fn read_boxes(path: &Path) -> Result<Vec<CropBox>> {
    CropBox::list_from_json(&input::read_text(path)?, path)
}

fn prompts_from_json(json: &str, labels: Option<&[String]>) -> Result<Prompts> {
    labels.map_or_else(|| Prompts::from_json(json), |labels| Prompts::from_json_with_labels(json, labels))
}

pub(super) fn read_prompts(path: &Path, labels: Option<&[String]>) -> Result<Prompts> {
    prompts_from_json(&input::read_text(path)?, labels).map_err(|error| error.in_file(path))
}

/// Reads one of these names as serde does.
fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value(name.into()))
}

#[derive(clap::Args)]
pub(super) struct PromptArgs {
    /// JSON file: {"class": ["description", …]}, or a list of templates with {} [default with mini: its 100 concepts]
    ///
    /// A class may also have a "description" alone, or descriptions by prompt as CuPL's: {"prompt": ["description", …]}.
    #[arg(long, value_name = "FILE|-")]
    prompts: Option<PathBuf>,
    /// Classes: a comma list, or a file; they fill the templates, or choose from the prompts file
    ///
    /// The file is a JSON list, or text of one class a line. A value with a path's separator or a file's extension is a
    /// file, which must be there; in a comma list, separators and dots belong to the names.
    #[arg(long, value_name = "A,B,C|FILE|-")]
    labels: Option<Labels>,
    /// How views and texts make a score
    #[arg(long, value_parser = one_of::<Method>(["wca", "cupl", "clip-e", "clip"]), default_value = "wca")]
    method: Method,
    /// WCA's form of the score
    #[arg(long, value_parser = one_of::<Score>(["official", "paper"]), default_value = "official")]
    score: Score,
    /// How a class's descriptions are reduced for each view: their weighted mean, the best one, or the mean of the K best
    ///
    /// With the weights v of the descriptions and their cosines s with the view, best:K is Σ v s / Σ v over the K largest s,
    /// over all where a class has fewer; max is best:1, in which no weight shows. Equal descriptions count as often as they
    /// are there. Of wca, max and best:K are forms of the paper's score, so that classify, compile and evaluate want --score
    /// paper with them: the official score divides by the length of a weighted sum. clip has one text a class.
    #[arg(long, default_value_t, value_name = "mean|max|best:K")]
    reduction: Reduction,
    /// Logarithm of the views' softmax scale
    #[arg(long, default_value_t = CompileOptions::default().image_scale, allow_negative_numbers = true)]
    image_scale: f32,
    /// Logarithm of the descriptions' softmax scale
    #[arg(long, default_value_t = CompileOptions::default().text_scale, allow_negative_numbers = true)]
    text_scale: f32,
    /// Label prompt
    #[arg(long, default_value_t = CompileOptions::default().template)]
    template: String,
}

impl PromptArgs {
    /// The files that are read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        let labels = self.labels.as_ref().and_then(|labels| match labels {
            Labels::File(path) => Some(path.as_path()),
            Labels::List(_) => None,
        });
        self.prompts.as_deref().into_iter().chain(labels).collect()
    }

    pub(super) fn options(&self) -> CompileOptions {
        CompileOptions {
            method: self.method,
            score: self.score,
            reduction: self.reduction,
            keep_texts: false,
            image_scale: self.image_scale,
            text_scale: self.text_scale,
            template: self.template.clone(),
        }
    }
}

/// A compiled classifier in place of prompts.
#[derive(clap::Args)]
pub(super) struct ClassifierArgs {
    /// A file of `crossalign compile`, in place of prompts
    #[arg(long, value_name = "FILE|-", conflicts_with_all =
        ["prompts", "labels", "method", "score", "reduction", "image_scale", "text_scale", "template"])]
    classifier: Option<PathBuf>,
}

impl ClassifierArgs {
    /// The file that is read.
    pub(super) fn inputs(&self) -> Vec<&Path> {
        self.classifier.as_deref().into_iter().collect()
    }

    pub(super) fn read(&self) -> Result<Option<CompiledClassifier>> {
        let read = |path: &PathBuf| self.named(CompiledClassifier::from_bytes(&input::read(path)?));
        self.classifier.as_ref().map(read).transpose()
    }

    /// Adds the file's name to an error of the classifier.
    pub(super) fn named<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match &self.classifier {
            Some(path) => error.in_file(path),
            None => error,
        })
    }
}
