//! The Python package `crossalign`, over the library's public API.
//!
//! | file | what |
//! | --- | --- |
//! | `model.rs` | a model, opened on first use |
//! | `classifier.rs` | a compiled classifier on a model |
//! | `pictures.rs` | what Python calls a picture, as a stream's input |
//! | `memory.rs` | bytes of Python objects, read in place |
//! | `stream.rs` | a stream that Python waits for, and its results one by one |
//! | `rows.rs` | a stream's results as one array |
//! | `errors.rs` | the exceptions |

mod classifier;
mod errors;
mod memory;
mod model;
mod pictures;
mod rows;
mod stream;

use pyo3::prelude::*;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program's command line, its name first. Returns the exit status.
#[pyfunction]
fn run(py: Python<'_>, line: Vec<OsString>) -> u8 {
    let status = py.detach(|| crossalign::cli::run(line));
    u8::from(status != ExitCode::SUCCESS)
}

#[pymodule]
mod _crossalign {
    #[pymodule_export]
    use super::classifier::Classifier;
    #[pymodule_export]
    use super::errors::{DeviceError, Error, ModelError, PictureError, PictureWarning};
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::run;
    #[pymodule_export]
    use super::stream::{Result, Stream};
}
