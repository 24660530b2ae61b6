//! The crate's one error type.

use std::path::{Path, PathBuf};

/// The underlying error, kept for [`std::error::Error::source`].
type Source = Box<dyn std::error::Error + Send + Sync>;

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
        /// The field or part of the file.
        field: String,
        /// What is there.
        found: String,
        /// What must be there.
        expected: String,
        /// The parser's error, if there was one.
        source: Option<Source>,
    },
    /// A field of a model's configuration has a value that is not implemented.
    #[error("{}: {field}: found {found}, expected {expected}", path.display())]
    UnsupportedField {
        /// The configuration file.
        path: PathBuf,
        /// The field with the objects that it is in, as `vision_config.hidden_act`.
        field: String,
        /// Its value, as JSON.
        found: String,
        /// The values that are implemented.
        expected: String,
    },
    /// A model of another architecture, or in a format that is not read.
    #[error("{}: model: found {found}, expected {expected}", path.display())]
    UnsupportedModel {
        /// The file or folder.
        path: PathBuf,
        /// The architecture or format.
        found: String,
        /// What is implemented, or how to convert the file.
        expected: String,
    },
    /// A model's weights lack a tensor.
    #[error("{}: tensor {tensor}: found no such tensor, expected {expected}", path.display())]
    MissingTensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape, or why it must be there.
        expected: String,
    },
    /// A model's weights have a tensor that the model as configured would not use.
    #[error("{}: tensor {tensor}: found {found}, expected only tensors that the model uses", path.display())]
    UnusedTensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What such a tensor is.
        found: String,
    },
    /// A tensor has another shape than the model's configuration says.
    #[error("{}: tensor {tensor}: found shape {found:?}, expected shape {expected:?}", path.display())]
    TensorShape {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it must have.
        expected: Vec<usize>,
    },
    /// A picture that cannot be decoded.
    #[error("{}picture: found {found}, expected {expected}", path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default())]
    Picture {
        /// The file, where there is one.
        path: Option<PathBuf>,
        /// What kind of fault it is.
        kind: PictureErrorKind,
        /// What is there.
        found: String,
        /// What can be decoded.
        expected: String,
        /// The decoder's error, if there was one.
        source: Option<Source>,
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
    /// A model of the hub that cannot be had.
    #[cfg(feature = "hub")]
    #[error("{model}: model: found {found}, expected {expected}")]
    Hub {
        /// The model's name.
        model: String,
        /// What kind of fault it is.
        kind: HubErrorKind,
        /// Where it was looked for, and the answer there.
        found: String,
        /// What must be there, and the commands that help.
        expected: String,
        /// The underlying error, if there was one.
        source: Option<Source>,
    },
    /// A device's memory does not hold what was asked for.
    #[error("device {device}: {reason}")]
    OutOfMemory {
        /// The device.
        device: String,
        /// The driver's or allocator's message.
        reason: String,
    },
    /// There is no such device on this machine: no driver for it, or this program was built without it.
    #[error("device {device}: {reason}")]
    NoDevice {
        /// The device as asked for.
        device: String,
        /// What is missing.
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

/// Kinds of [`Error::Picture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureErrorKind {
    /// Not a picture.
    NoPicture,
    /// A picture of a format that is not decoded.
    Format,
    /// The end is missing.
    Truncated,
    /// Damaged, or of a variant that the decoder does not know.
    Damaged,
    /// Without pixels, or larger than [`DecodeOptions::max_pixels`](crate::DecodeOptions::max_pixels) or
    /// [`DecodeOptions::max_bytes`](crate::DecodeOptions::max_bytes).
    Size,
}

/// Kinds of [`Error::Hub`].
#[cfg(feature = "hub")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HubErrorKind {
    /// Not in the cache, and no hub may be asked.
    Offline,
    /// The hub does not answer, is busy, or broke off and did so again.
    NoAnswer,
    /// The hub wants a token, or another one (401, 403).
    Denied,
    /// The hub has no such model, revision or file (404).
    NotFound,
    /// What came is not what the hub said would come, by its size or its hash.
    Content,
    /// An answer that no hub gives.
    Answer,
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
        Self::argument(field, found, expected).in_file(path)
    }

    /// [`Error::file`] for a parser's error: its message is what was found, and it is the source.
    pub(crate) fn parse(
        path: &Path,
        field: impl Into<String>,
        source: impl Into<Source>,
        expected: impl Into<String>,
    ) -> Self {
        let (field, source, expected) = (field.into(), source.into(), expected.into());
        Self::File { path: path.to_owned(), field, found: source.to_string(), expected, source: Some(source) }
    }

    pub(crate) fn argument(name: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Argument { name: name.into(), found: found.into(), expected: expected.into() }
    }

    pub(crate) fn device(device: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Device { device: device.into(), reason: reason.into() }
    }

    pub(crate) fn no_device(device: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::NoDevice { device: device.into(), reason: reason.into() }
    }

    /// Names the file that an argument or a picture came from.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Argument { name, found, expected } => {
                Self::File { path: path.to_owned(), field: name, found, expected, source: None }
            }
            Self::Picture { path: None, kind, found, expected, source } => {
                Self::Picture { path: Some(path.to_owned()), kind, found, expected, source }
            }
            other => other,
        }
    }
}
