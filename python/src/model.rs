//! A model, opened on first use.

use super::classifier::Classifier;
use super::errors::{Error, ModelError, argument, exception};
use super::pictures::Pictures;
use super::rows::{self, OnError};
use crossalign::align::{CompileOptions, Method, Score};
use crossalign::image::{CropBox, ViewSampling};
use crossalign::model::{Activation, MINI_PROMPTS};
use crossalign::{ModelOptions, Prompts, Views};
use numpy::{PyArray2, PyArrayDyn, ndarray::Array2};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NameError;
use std::collections::HashMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

/// The built-in model's name.
const MINI: &str = "mini";

/// What a model is opened by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Arguments {
    name: PathBuf,
    device: String,
    precision: String,
    threads: usize,
    text_cleaning: String,
    activation: Option<String>,
}

/// The models that this process has open, so that equal arguments share one.
static OPEN: LazyLock<Mutex<HashMap<Arguments, Weak<crossalign::Model>>>> = LazyLock::new(Default::default);

impl Arguments {
    fn options(&self) -> crossalign::Result<ModelOptions> {
        let precision = if self.precision == "auto" { None } else { Some(self.precision.parse()?) };
        let activation: Option<Activation> = self.activation.as_deref().map(str::parse).transpose()?;
        let options = ModelOptions::default().with_device(self.device.parse()?).with_threads(self.threads);
        let options = options.with_precision(precision).with_activation(activation);
        Ok(options.with_text_cleaning(self.text_cleaning.parse()?))
    }

    /// The open model of these arguments, which is opened if there is none; and whether it was.
    fn open(&self) -> crossalign::Result<(Arc<crossalign::Model>, bool)> {
        let mut all = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = all.get(self).and_then(Weak::upgrade) {
            return Ok((model, false));
        }
        let options = self.options()?;
        let model = if self.name.as_os_str() == MINI {
            crossalign::Model::mini(&options)?
        } else {
            crossalign::Model::load(&self.name, &options)?
        };
        let model = Arc::new(model);
        all.retain(|_, model| model.strong_count() > 0);
        all.insert(self.clone(), Arc::downgrade(&model));
        Ok((model, true))
    }
}

/// A CLIP model.
///
/// It is opened on first use, once a process: equal models share the weights on the device. It pickles by its arguments,
/// so that each process opens its own. Several threads may use it.
///
/// Parameters
///     name: a folder with the weights (safetensors), the config and the tokenizer, a name on Hugging Face's hub as
///         "openai/clip-vit-base-patch32" or "ORG/NAME@REVISION", or "mini", the small model of drawings that comes with the
///         package.
///     device: "auto" (CUDA, then a GPU through wgpu, then the CPU), "cpu", "cuda[:N|:UUID|:all]", "wgpu[:N|:NAME]" or
///         "reference".
///     precision: of the weights: "auto" (f16 on GPUs with matrix units, f32 elsewhere), "f32", "f16", "bf16" or "int8".
///     threads: of the CPU; 0: all.
///     text_cleaning: of texts before the tokenizer: "none" or "openai".
///     activation: "quick_gelu", "gelu" or "gelu_tanh", in place of the config's; needed where a model has no config.
///
/// Raises
///     Error for an argument that is none of these. On first use ModelError for a model that cannot be read, and
///     DeviceError for a device that cannot be opened.
#[pyclass(module = "crossalign", frozen)]
pub struct Model {
    arguments: Arguments,
    opened: OnceLock<Arc<crossalign::Model>>,
}

impl Model {
    /// The open model. Tells, as warnings, why `auto` did not take a device.
    pub fn open(&self, py: Python<'_>) -> PyResult<&Arc<crossalign::Model>> {
        if let Some(model) = self.opened.get() {
            return Ok(model);
        }
        let (model, is_new) = py.detach(|| self.arguments.open()).map_err(exception::<ModelError>)?;
        if is_new {
            model.device_notes().iter().try_for_each(|note| warn(py, note))?;
        }
        Ok(self.opened.get_or_init(|| model))
    }
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (name = PathBuf::from(MINI), device = "auto", precision = "auto", threads = 0, text_cleaning = "none",
                        activation = None),
           text_signature = "(name='mini', device='auto', precision='auto', threads=0, text_cleaning='none', activation=None)")]
    fn new(
        name: PathBuf,
        device: &str,
        precision: &str,
        threads: usize,
        text_cleaning: &str,
        activation: Option<String>,
    ) -> PyResult<Self> {
        let [device, precision, text_cleaning] = [device, precision, text_cleaning].map(String::from);
        let arguments = Arguments { name, device, precision, threads, text_cleaning, activation };
        arguments.options().map_err(exception::<Error>)?;
        Ok(Self { arguments, opened: OnceLock::new() })
    }

    fn __getnewargs__(&self) -> (&PathBuf, &str, &str, usize, &str, Option<&str>) {
        let Arguments { name, device, precision, threads, text_cleaning, activation } = &self.arguments;
        (name, device, precision, *threads, text_cleaning, activation.as_deref())
    }

    fn __repr__(&self) -> String {
        let Arguments { name, device, precision, .. } = &self.arguments;
        format!("crossalign.Model({:?}, device={device:?}, precision={precision:?})", name.display().to_string())
    }

    /// The length of an embedding, D. Opens the model.
    #[getter]
    fn dimensions(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.open(py)?.config().embed)
    }

    /// The side of a view in pixels. Opens the model.
    #[getter]
    fn image_size(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.open(py)?.config().image_size)
    }

    /// The device that the model runs on, and its precision, in words. Opens the model.
    #[getter]
    fn running_on(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.open(py)?;
        Ok(format!("{}, {}", model.device(), model.precision()))
    }

    /// Encodes pictures.
    ///
    /// Parameters
    ///     pictures: a path, a file's bytes, a PIL.Image, an array [h, w, 3] of uint8, an iterable of these, an array
    ///         [n, h, w, 3], or a pyarrow array of binaries or paths. Bytes are decoded where they are; pixels are copied
    ///         once, on the decoding threads.
    ///     normalize: to unit length; else as projected.
    ///     views, alpha, beta, seed: how many random square crops of each picture are encoded as well, of alpha to beta of
    ///         its shorter side. The same picture has the same crops everywhere.
    ///     boxes: crops [x, y, width, height] in pixels, the same in every picture, in place of random ones.
    ///     out: an array for the result, float32 and contiguous.
    ///     on_error: a picture that cannot be encoded has a row of NaN; "null" warns with a PictureWarning, "raise" raises its
    ///         PictureError, and a callable is called with its number and this error.
    ///
    /// Returns
    ///     float32 [n, D]; with views or boxes [n, 1 + views, D], the whole picture's view first.
    ///
    /// Raises
    ///     TypeError for what is no picture by its type; PictureError as on_error says; Error for an argument out of its
    ///     range; ModelError and DeviceError.
    #[pyo3(signature = (pictures, normalize = true, *, views = 0, alpha = 0.5, beta = 0.9, seed = 0, boxes = None, out = None,
                        on_error = None),
           text_signature = "($self, pictures, normalize=True, *, views=0, alpha=0.5, beta=0.9, seed=0, boxes=None, out=None, on_error='null')")]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn encode_images<'py>(
        &self,
        py: Python<'py>,
        pictures: &Bound<'py, PyAny>,
        normalize: bool,
        views: usize,
        alpha: f64,
        beta: f64,
        seed: u64,
        boxes: Option<Vec<[u32; 4]>>,
        out: Option<Bound<'py, PyArrayDyn<f32>>>,
        on_error: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let on_error = OnError::of(on_error)?;
        let flat = views == 0 && boxes.is_none();
        let views = self::views(views, alpha, beta, seed, boxes)?;
        let mut pictures = Pictures::of(pictures)?;
        let (count, model) = (pictures.counted(py)?, self.open(py)?);
        let mut shape = vec![count, 1 + views.count(), model.config().embed];
        if flat {
            shape.remove(1);
        }
        let array = rows::array(py, out, &shape)?;
        let stream = model.stream(views, normalize, Default::default());
        rows::fill(&array, stream, pictures, &on_error, |embeddings| &embeddings.data)?;
        Ok(array)
    }

    /// Encodes texts.
    ///
    /// Parameters
    ///     texts: a text, or a list of texts. Those longer than the model's context lose their end, with a warning.
    ///     normalize: to unit length; else as projected.
    ///
    /// Returns
    ///     float32 [n, D]
    ///
    /// Raises
    ///     Error for a text that cannot be tokenised; ModelError and DeviceError.
    #[pyo3(signature = (texts, normalize = true))]
    fn encode_texts<'py>(
        &self,
        py: Python<'py>,
        texts: &Bound<'py, PyAny>,
        normalize: bool,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let texts: Vec<String> =
            if texts.is_instance_of::<PyString>() { vec![texts.extract()?] } else { texts.extract()? };
        let model = self.open(py)?;
        let encoded = py.detach(|| model.encode_texts(&texts, normalize)).map_err(exception::<Error>)?;
        warn_truncated(py, encoded.truncated, model.config().context)?;
        Ok(PyArray2::from_owned_array(py, Array2::from(encoded.embeddings)))
    }

    /// Compiles classes into a classifier: their texts are encoded here, once.
    ///
    /// Parameters
    ///     prompts: a dict of descriptions by class; a list of templates with {} for labels to fill; or the path of a JSON
    ///         file of either. The default is the 100 concepts of the model "mini", or with labels the labels alone.
    ///     labels: the classes that fill the templates, or that are chosen from the dict.
    ///     method: "wca", "cupl", "clip-e" or "clip".
    ///     score: WCA's form of the score, "official" or "paper".
    ///     reduction: of a class's descriptions: "mean", "max" or "best:K".
    ///     image_scale, text_scale: logarithms of the softmax scales of views and descriptions.
    ///     template: the label prompt, {} where the class's name goes.
    ///
    /// Raises
    ///     Error for prompts or options that do not go together; ModelError and DeviceError.
    #[pyo3(signature = (prompts = None, *, labels = None, method = "wca", score = "official", reduction = "mean",
                        image_scale = 4.0, text_scale = 2.0, template = "a photo of a {}."))]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn compile(
        slf: &Bound<'_, Self>,
        prompts: Option<&Bound<'_, PyAny>>,
        labels: Option<Vec<String>>,
        method: &str,
        score: &str,
        reduction: &str,
        image_scale: f32,
        text_scale: f32,
        template: &str,
    ) -> PyResult<Classifier> {
        let (py, model) = (slf.py(), slf.get());
        let method: Method = named("method", method)?;
        let options = CompileOptions::default()
            .with_method(method)
            .with_score(named::<Score>("score", score)?)
            .with_reduction(reduction.parse().map_err(exception::<Error>)?)
            .with_image_scale(image_scale)
            .with_text_scale(text_scale)
            .with_template(template);
        let is_mini = model.arguments.name.as_os_str() == MINI;
        let prompts = match (prompts, labels) {
            (Some(prompts), labels) => self::prompts(prompts, labels)?,
            (None, labels) if is_mini && (method != Method::Clip || labels.is_none()) => parse(MINI_PROMPTS, labels)?,
            (None, Some(labels)) => Prompts::from_labels(&labels).map_err(exception::<Error>)?,
            (None, None) => return Err(argument("prompts", "None", "descriptions, templates or labels")),
        };
        let open = model.open(py)?;
        let compiled = py.detach(|| open.compile_texts(&prompts, &options)).map_err(exception::<Error>)?;
        warn_truncated(py, compiled.truncated, open.config().context)?;
        Ok(Classifier::new(slf.clone().unbind(), compiled, Views::default()))
    }
}

/// Reads one of the names that serde knows.
fn named<T: for<'a> Deserialize<'a>>(name: &str, value: &str) -> PyResult<T> {
    T::deserialize(value.into_deserializer())
        .map_err(|error: NameError| Error::new_err(format!("{name}: found {error}")))
}

/// Prompts from a dict, a list or a file.
fn prompts(prompts: &Bound<'_, PyAny>, labels: Option<Vec<String>>) -> PyResult<Prompts> {
    if prompts.is_instance_of::<PyString>() || prompts.hasattr("__fspath__")? {
        let path: PathBuf = prompts.extract()?;
        let read = match labels {
            Some(labels) => Prompts::open_with_labels(path, &labels),
            None => Prompts::open(path),
        };
        return read.map_err(exception::<Error>);
    }
    let json: String = prompts.py().import("json")?.call_method1("dumps", (prompts,))?.extract()?;
    parse(&json, labels)
}

fn parse(json: &str, labels: Option<Vec<String>>) -> PyResult<Prompts> {
    let read = match labels {
        Some(labels) => Prompts::from_json_with_labels(json, &labels),
        None => Prompts::from_json(json),
    };
    read.map_err(exception::<Error>)
}

/// The local views of a picture.
pub fn views(count: usize, alpha: f64, beta: f64, seed: u64, boxes: Option<Vec<[u32; 4]>>) -> PyResult<Views> {
    let sampling = ViewSampling { count, alpha, beta, seed };
    sampling.check().map_err(exception::<Error>)?;
    Ok(match boxes {
        Some(boxes) => Views::Boxes(boxes.into_iter().map(|[x, y, w, h]| CropBox::new(x, y, w, h)).collect()),
        None if count == 0 => Views::Boxes(Vec::new()),
        None => Views::Sampled(sampling),
    })
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &CString::new(message)?, 1)
}

fn warn_truncated(py: Python<'_>, truncated: usize, context: usize) -> PyResult<()> {
    if truncated == 0 {
        return Ok(());
    }
    warn(py, &format!("{truncated} of the texts are longer than the model's {context} tokens and lost their end"))
}
