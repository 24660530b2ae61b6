//! A stream's results as one array.

use super::errors::{self, PictureError, PictureWarning, argument, exception};
use super::pictures::Pictures;
use super::stream::Running;
use crossalign::align::Stream;
use numpy::{PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use std::ffi::CString;

/// What to do where a picture has no result.
pub enum OnError {
    Raise,
    /// A row of NaN, and a warning.
    Null,
    /// A row of NaN, and a call with the picture's number and its exception.
    Call(Py<PyAny>),
}

impl OnError {
    /// What an argument says; by default "null".
    ///
    /// # Errors
    /// When it is neither of the two names nor callable.
    pub fn of(argument: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(argument) = argument else { return Ok(Self::Null) };
        match argument.extract::<String>().as_deref() {
            Ok("raise") => Ok(Self::Raise),
            Ok("null") => Ok(Self::Null),
            Err(_) if argument.is_callable() => Ok(Self::Call(argument.clone().unbind())),
            _ => Err(errors::argument("on_error", &argument.repr()?.to_string(), "\"raise\", \"null\" or a callable")),
        }
    }

    /// Does it, for a picture whose row is NaN already.
    fn tell(&self, py: Python<'_>, number: usize, error: PyErr) -> PyResult<()> {
        match self {
            Self::Raise => Err(error),
            Self::Null => {
                let message = format!("picture {number}: {}", error.value(py)).replace('\0', "\u{fffd}");
                PyErr::warn(py, &py.get_type::<PictureWarning>(), &CString::new(message)?, 1)
            }
            Self::Call(function) => function.call1(py, (number, error)).map(drop),
        }
    }
}

/// The array that results go to: `out`, or a new one.
///
/// # Errors
/// When `out` is of another shape, or not contiguous in C's order.
pub fn array<'py>(
    py: Python<'py>,
    out: Option<Bound<'py, PyArrayDyn<f32>>>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    match out {
        None => Ok(PyArrayDyn::zeros(py, shape, false)),
        Some(out) if !out.is_c_contiguous() => Err(argument("out", "an array with gaps", "one that is C-contiguous")),
        Some(out) if out.shape() == shape => Ok(out),
        Some(out) => Err(argument("out", &format!("shape {:?}", out.shape()), &format!("shape {shape:?}"))),
    }
}

/// Runs the stream over pictures: what `row` takes from each result is the picture's part of `array`, whose first
/// dimension counts the pictures.
pub fn fill<R: Send + 'static>(
    array: &Bound<'_, PyArrayDyn<f32>>,
    stream: Stream<R>,
    pictures: Pictures,
    on_error: &OnError,
    row: impl Fn(&R) -> &[f32],
) -> PyResult<()> {
    let py = array.py();
    let mut elements = array.try_readwrite()?;
    let elements = elements.as_slice_mut()?;
    let width = array.shape()[1..].iter().product::<usize>().max(1);
    let running = Running::start(stream, pictures);
    for (number, part) in elements.chunks_exact_mut(width).enumerate() {
        let Some((_, result)) = running.next(py)? else {
            return Err(argument("pictures", &format!("{number}"), "as many as their len() says"));
        };
        match result {
            Ok(result) => part.copy_from_slice(row(&result)),
            Err(error) => {
                part.fill(f32::NAN);
                on_error.tell(py, number, exception::<PictureError>(error))?;
            }
        }
    }
    Ok(())
}
