//! A stream that Python waits for, and its results one by one.

use super::errors::{DeviceError, PictureError, exception};
use super::pictures::{Pictures, Raised, Tag};
use crossalign::align::{self, Results};
use crossalign::image::CropBox;
use crossalign::{Classification, Error};
use numpy::PyArray1;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How long a thread waits before it looks for Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(50);

/// A running stream. Its threads stop when it is dropped or closed.
pub struct Running<R: Send + 'static> {
    /// None once it is closed.
    results: Mutex<Option<Results<Tag, R>>>,
    raised: Raised,
}

impl<R: Send + 'static> Running<R> {
    /// Starts the stream over pictures.
    pub fn start(stream: align::Stream<R>, pictures: Pictures) -> Self {
        let raised = pictures.raised();
        Self { results: Mutex::new(Some(stream.open(pictures, Tag::open))), raised }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Results<Tag, R>>> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next picture's result, without the GIL while it is waited for; none after the last.
    ///
    /// # Errors
    /// On Ctrl-C, which closes the stream; when Python's iterator of the pictures raised, after all results before; and
    /// when a device fails.
    pub fn next(&self, py: Python<'_>) -> PyResult<Option<(Tag, crossalign::Result<R>)>> {
        let next = loop {
            let wait = || self.lock().as_mut().map_or(Poll::Ready(None), |results| results.next_within(PATIENCE));
            let next = py.detach(wait);
            py.check_signals().inspect_err(|_| self.close(py))?;
            if let Poll::Ready(next) = next {
                break next;
            }
        };
        match next {
            Some((_, Err(error @ Error::Device { .. }))) => Err(exception::<DeviceError>(error)),
            Some(next) => Ok(Some(next)),
            None => {
                let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner).take();
                raised.map_or(Ok(None), Err)
            }
        }
    }

    /// Stops the threads. They may be asking for the GIL, and a device may be computing a batch: it is waited for without
    /// the GIL.
    pub fn close(&self, py: Python<'_>) {
        py.detach(|| drop(self.lock().take()));
    }
}

impl<R: Send + 'static> Drop for Running<R> {
    fn drop(&mut self) {
        Python::attach(|py| self.close(py));
    }
}

/// The results of a stream of pictures, in the order of the pictures. An iterator of :class:`Result`.
///
/// Raises from ``next``
///     KeyboardInterrupt on Ctrl-C, and the stream ends; DeviceError when a device fails; what the iterable of the
///     pictures raised, after the results of the pictures before.
#[pyclass(module = "crossalign", frozen)]
pub struct Stream {
    classes: Arc<[String]>,
    running: Running<Classification>,
}

impl Stream {
    /// Starts a classifier's stream over pictures.
    pub fn start(classifier: &crossalign::Classifier, pictures: Pictures) -> Self {
        let classes = classifier.compiled().classes.as_slice().into();
        Self { classes, running: Running::start(classifier.stream(Default::default()), pictures) }
    }
}

#[pymethods]
impl Stream {
    fn __iter__(stream: PyRef<'_, Self>) -> PyRef<'_, Self> {
        stream
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Result>> {
        let next = self.running.next(py)?;
        Ok(next.map(|(tag, found)| {
            let found = found.map_err(exception::<PictureError>);
            Result { index: tag.number, path: tag.path, classes: self.classes.clone(), found }
        }))
    }

    /// Stops the stream: no more pictures are read, and no more results come.
    fn close(&self, py: Python<'_>) {
        self.running.close(py);
    }
}

/// What a stream found out about a picture.
#[pyclass(module = "crossalign", frozen)]
pub struct Result {
    /// The picture's number in the stream, from 0 on.
    #[pyo3(get)]
    index: usize,
    /// The picture's path, as it was given; None where a picture was given otherwise.
    #[pyo3(get)]
    path: Option<Py<PyAny>>,
    classes: Arc<[String]>,
    found: PyResult<Classification>,
}

/// `(x, y, width, height)` and weight.
type View = ((u32, u32, u32, u32), f32);

#[pymethods]
impl Result {
    /// float32 [classes], in the order of the classifier's classes; NaN where the picture has an error.
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        match &self.found {
            Ok(found) => PyArray1::from_slice(py, found.scores()),
            Err(_) => PyArray1::from_vec(py, vec![f32::NAN; self.classes.len()]),
        }
    }

    /// The best k classes with their scores, best first, as a list of (class, score); of equal scores the class that comes
    /// first wins. Empty where the picture has an error.
    #[pyo3(signature = (k = 5))]
    fn top(&self, k: usize) -> Vec<(&str, f32)> {
        let Ok(found) = &self.found else { return Vec::new() };
        found.predictions().into_iter().take(k).map(|best| (best.class, best.score)).collect()
    }

    /// The local views with their weights, which sum to 1, as a list of ((x, y, width, height), weight) in pixels of the
    /// picture. Empty where the method is not wca or the picture has an error.
    #[getter]
    fn views(&self) -> Vec<View> {
        let Ok(found) = &self.found else { return Vec::new() };
        let view = |view: &align::WeightedView| {
            let CropBox { x, y, width, height, .. } = view.crop;
            ((x, y, width, height), view.weight)
        };
        found.views().iter().map(view).collect()
    }

    /// The PictureError that the picture has in place of a result, else None.
    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBaseException>> {
        self.found.as_ref().err().map(|error| error.value(py).clone())
    }

    fn __repr__(&self) -> String {
        match &self.found {
            Ok(_) => format!("<crossalign.Result {}: {:?}>", self.index, self.top(1)),
            Err(error) => format!("<crossalign.Result {}: {error}>", self.index),
        }
    }
}
