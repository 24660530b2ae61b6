//! The crate's one error type.

use std::path::{Path, PathBuf};

/// What went wrong. Every message names the file, tensor, field or argument,
/// what was found there and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file's content is not what it must be.
    #[error("{}: {field}: found {found}, expected {expected}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The tensor, field or part of the file.
        field: String,
        /// What is there.
        found: String,
        /// What must be there.
        expected: String,
    },
    /// A value handed to the library is out of its range or has the wrong shape.
    #[error("{name}: found {found}, expected {expected}")]
    Argument {
        /// The argument.
        name: String,
        /// Its value or shape.
        found: String,
        /// The range or shape it must have.
        expected: String,
    },
    /// A device's memory does not hold what was asked for.
    #[error("device {device}: {reason}")]
    OutOfMemory {
        /// The device.
        device: String,
        /// What it said: that it is out of memory.
        reason: String,
    },
    /// A device cannot be used.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as asked for.
        device: String,
        /// Why it cannot be used.
        reason: String,
    },
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O error with the path it happened at.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn file(
        path: &Path,
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::File { path: path.to_owned(), field: field.into(), found: found.into(), expected: expected.into() }
    }

    pub(crate) fn argument(name: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Argument { name: name.into(), found: found.into(), expected: expected.into() }
    }

    pub(crate) fn device(device: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Device { device: device.into(), reason: reason.into() }
    }

    /// Names the file that an argument came from.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Argument { name, found, expected } => {
                Self::File { path: path.to_owned(), field: name, found, expected }
            }
            other => other,
        }
    }
}
