//! What a stream takes as a picture: a file, its bytes, or pixels.

use crate::error::Result;
use crate::image::Picture;
use std::path::{Path, PathBuf};

/// A picture on its way into a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// A file, which a decoding thread reads.
    File(PathBuf),
    /// A file's bytes, in a format that [`Picture::decode`] takes.
    Bytes(Vec<u8>),
    /// A decoded picture.
    Picture(Picture),
}

impl Input {
    /// Its bytes of host memory.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::File(_) => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Picture(picture) => picture.as_rgb().pixels().len(),
        }
    }
}

/// A picture that was pulled from the input and is not yet opened.
pub(super) struct Job<T> {
    pub(super) tag: T,
    /// Its bytes of host memory before it is opened.
    pub(super) held: usize,
    pub(super) open: Open<T>,
}

/// Opens the picture of a tag, and may write what it learns into the tag.
pub(super) type Open<T> = Box<dyn FnOnce(&mut T) -> Result<Input> + Send>;

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::File(path.into())
    }
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Picture> for Input {
    fn from(picture: Picture) -> Self {
        Self::Picture(picture)
    }
}
