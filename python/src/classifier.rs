//! A compiled classifier on a model.

use super::errors::{Error, exception};
use super::model::{self, Model};
use super::pictures::Pictures;
use super::rows::{self, OnError};
use super::stream::Stream;
use crossalign::image::ViewSampling;
use crossalign::{CompiledClassifier, Views};
use numpy::PyArrayDyn;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The classes that a model tells apart: what Model.compile gives and Classifier.load reads.
///
/// It pickles with its model's arguments; the model is opened on first use, once a process.
///
/// Parameters
///     compiled: the content of a classifier file, as Classifier.save and ``crossalign compile`` write it.
///     model: the model that it was compiled with.
///     views, alpha, beta, seed, boxes: as in Classifier.with_views.
///
/// Raises
///     Error for what is no classifier; on first use, when it was compiled with another model.
#[pyclass(module = "crossalign", frozen)]
pub struct Classifier {
    model: Py<Model>,
    compiled: Arc<CompiledClassifier>,
    views: Views,
    /// There from the first use on.
    ready: OnceLock<crossalign::Classifier>,
}

/// What a classifier is made of again: its file, its model, and its views.
type Arguments<'py> = (Bound<'py, PyBytes>, Py<Model>, usize, f64, f64, u64, Option<Vec<[u32; 4]>>);

impl Classifier {
    pub fn new(model: Py<Model>, compiled: impl Into<Arc<CompiledClassifier>>, views: Views) -> Self {
        Self { model, compiled: compiled.into(), views, ready: OnceLock::new() }
    }

    /// The classifier on its open model.
    fn ready(&self, py: Python<'_>) -> PyResult<&crossalign::Classifier> {
        if let Some(classifier) = self.ready.get() {
            return Ok(classifier);
        }
        let model = crossalign::Model::clone(self.model.get().open(py)?);
        let join =
            || model.into_classifier((*self.compiled).clone()).map(|joined| joined.with_views(self.views.clone()));
        let classifier = py.detach(join).map_err(exception::<Error>)?;
        Ok(self.ready.get_or_init(|| classifier))
    }
}

#[pymethods]
impl Classifier {
    #[new]
    #[pyo3(signature = (compiled, model, views = 60, alpha = 0.5, beta = 0.9, seed = 0, boxes = None))]
    fn from_bytes(
        compiled: &[u8],
        model: Py<Model>,
        views: usize,
        alpha: f64,
        beta: f64,
        seed: u64,
        boxes: Option<Vec<[u32; 4]>>,
    ) -> PyResult<Self> {
        let compiled = CompiledClassifier::from_bytes(compiled).map_err(exception::<Error>)?;
        Ok(Self::new(model, compiled, model::views(views, alpha, beta, seed, boxes)?))
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'py>> {
        let file = self.compiled.to_bytes().map_err(exception::<Error>)?;
        let (sampling, boxes) = match &self.views {
            Views::Sampled(sampling) => (*sampling, None),
            Views::Boxes(boxes) => (ViewSampling::default(), Some(boxes.iter().map(|&crop| crop.into()).collect())),
        };
        let ViewSampling { count, alpha, beta, seed } = sampling;
        Ok((PyBytes::new(py, &file), self.model.clone_ref(py), count, alpha, beta, seed, boxes))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let model = self.model.bind(py).repr()?;
        Ok(format!("<crossalign.Classifier of {} classes on {model}>", self.compiled.classes.len()))
    }

    /// Reads a classifier file.
    ///
    /// Parameters
    ///     path: a file of Classifier.save or ``crossalign compile``.
    ///     model: the model that it was compiled with.
    ///
    /// Raises
    ///     Error for a file that cannot be read or is no classifier.
    #[staticmethod]
    fn load(path: PathBuf, model: Py<Model>) -> PyResult<Self> {
        let compiled = CompiledClassifier::open(path).map_err(exception::<Error>)?;
        Ok(Self::new(model, compiled, Views::default()))
    }

    /// Writes a classifier file (safetensors), whole or not at all. Its views are not in it.
    ///
    /// Raises
    ///     Error when the file cannot be written.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.compiled.save(path).map_err(exception::<Error>)
    }

    /// The names of the classes, in order.
    #[getter]
    fn classes(&self) -> Vec<&str> {
        self.compiled.classes.iter().map(String::as_str).collect()
    }

    /// The model.
    #[getter]
    fn model(&self, py: Python<'_>) -> Py<Model> {
        self.model.clone_ref(py)
    }

    /// The same classifier with other local views, by default WCA's 60 random square crops.
    ///
    /// Parameters
    ///     views: how many crops of each picture.
    ///     alpha, beta: smallest and largest side of a crop, as a share of the picture's shorter side.
    ///     seed: another seed gives other crops.
    ///     boxes: crops [x, y, width, height] in pixels, the same in every picture, in place of random ones.
    ///
    /// Raises
    ///     Error for numbers out of their range.
    #[pyo3(signature = (views = 60, alpha = 0.5, beta = 0.9, seed = 0, boxes = None))]
    fn with_views(
        &self,
        py: Python<'_>,
        views: usize,
        alpha: f64,
        beta: f64,
        seed: u64,
        boxes: Option<Vec<[u32; 4]>>,
    ) -> PyResult<Self> {
        let views = model::views(views, alpha, beta, seed, boxes)?;
        Ok(Self::new(self.model.clone_ref(py), self.compiled.clone(), views))
    }

    /// Scores pictures. A picture's scores are the same in any batch.
    ///
    /// Parameters
    ///     pictures: as in Model.encode_images.
    ///     on_error: a picture that cannot be scored has a row of NaN; "null" warns with a PictureWarning, "raise" raises its
    ///         PictureError, and a callable is called with its number and this error.
    ///
    /// Returns
    ///     float32 [n, classes], in the order of classes: cosines; with the paper's score or a reduction other than the mean,
    ///     means of cosines.
    ///
    /// Raises
    ///     TypeError for what is no picture by its type; PictureError as on_error says; ModelError and DeviceError.
    #[pyo3(signature = (pictures, *, on_error = None),
           text_signature = "($self, pictures, *, on_error='null')")]
    fn scores<'py>(
        &self,
        py: Python<'py>,
        pictures: &Bound<'py, PyAny>,
        on_error: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let on_error = OnError::of(on_error)?;
        let mut pictures = Pictures::of(pictures)?;
        let (count, classifier) = (pictures.counted(py)?, self.ready(py)?);
        let array = rows::array(py, None, &[count, self.compiled.classes.len()])?;
        rows::fill(&array, classifier.stream(Default::default()), pictures, &on_error, |found| found.scores())?;
        Ok(array)
    }

    /// Scores pictures one after the other, at the device's full rate: decoding threads, batches that fill the device, no more
    /// than a budget of pictures in memory.
    ///
    /// Parameters
    ///     pictures: as in Model.encode_images. An iterable is asked for its next picture on the decoding threads, shortly
    ///         before it is needed; it may be endless.
    ///
    /// Returns
    ///     Stream: an iterator of Result, in the order of the pictures. A picture that cannot be scored has an error there.
    fn stream(&self, py: Python<'_>, pictures: &Bound<'_, PyAny>) -> PyResult<Stream> {
        let pictures = Pictures::of(pictures)?;
        Ok(Stream::start(self.ready(py)?, pictures))
    }
}
