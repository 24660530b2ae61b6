//! The exceptions.

use pyo3::exceptions::{PyException, PyUserWarning};
use pyo3::{PyErr, PyTypeInfo, create_exception};

create_exception!(
    crossalign,
    Error,
    PyException,
    "What went wrong: the message names the file, tensor or argument, what was found there and what was expected."
);
create_exception!(crossalign, ModelError, Error, "A model that cannot be read, or that is not implemented.");
create_exception!(crossalign, PictureError, Error, "A picture that cannot be read, decoded or cut into its views.");
create_exception!(crossalign, DeviceError, Error, "A device that is not there, fails, or lacks memory.");
create_exception!(crossalign, PictureWarning, PyUserWarning, "A picture that has no result: its row is NaN.");

/// The exception for an error: a [`DeviceError`] where a device is at fault, else a `T`.
pub fn exception<T: PyTypeInfo>(error: crossalign::Error) -> PyErr {
    use crossalign::Error::{Device, NoDevice, OutOfMemory};
    let message = error.to_string();
    match error {
        Device { .. } | NoDevice { .. } | OutOfMemory { .. } => DeviceError::new_err(message),
        _ => PyErr::new::<T, _>(message),
    }
}

/// The exception for an argument that is out of its range.
pub fn argument(name: &str, found: &str, expected: &str) -> PyErr {
    Error::new_err(format!("{name}: found {found}, expected {expected}"))
}
