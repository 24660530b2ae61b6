//! Errors for pictures that cannot be decoded.

use crate::error::{Error, PictureErrorKind, Result};
use std::io;

const EXPECTED: &str = "a whole PNG, JPEG, WebP, BMP, GIF or TIFF picture";

/// A fault that this crate found.
pub(super) fn fault(kind: PictureErrorKind, found: impl Into<String>) -> Error {
    Error::Picture { path: None, kind, found: found.into(), expected: EXPECTED.into(), source: None }
}

/// A decoder's panic.
pub(crate) fn decoder_panicked() -> Error {
    fault(PictureErrorKind::Damaged, "a picture that makes its decoder panic")
}

/// A fault that a decoder found; an unexpected end of file among its causes means that the file is truncated.
pub(super) fn decoder_fault(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    let mut causes = std::iter::successors(Some(&source as &dyn std::error::Error), |error| error.source());
    let io = causes.find_map(|error| error.downcast_ref::<io::Error>());
    let kind = match io.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => PictureErrorKind::Truncated,
        _ => PictureErrorKind::Damaged,
    };
    Error::Picture {
        path: None,
        kind,
        found: source.to_string(),
        expected: EXPECTED.into(),
        source: Some(Box::new(source)),
    }
}

/// Refuses a picture without pixels or with more than `max_pixels`.
pub(super) fn check_size((width, height): (u32, u32), max_pixels: u64) -> Result<()> {
    match u64::from(width) * u64::from(height) {
        pixels if pixels > 0 && pixels <= max_pixels => Ok(()),
        _ => Err(size_fault((width, height), format!("1 to {max_pixels} pixels"))),
    }
}

/// A file of more than `most` bytes.
pub(super) fn too_long(most: u64) -> Error {
    let (found, expected) =
        (format!("more than {most} bytes"), format!("at most {most}, for the pixels that are allowed"));
    Error::Picture { path: None, kind: PictureErrorKind::Size, found, expected, source: None }
}

/// Bytes that a decoder may allocate: 16 a pixel hold any format, and as many again its own buffers.
pub(super) fn memory_limit(pixels: u64) -> usize {
    usize::try_from(pixels.saturating_mul(32).max(1 << 28)).unwrap_or(usize::MAX)
}

/// A picture of another size than `expected` says.
pub(super) fn size_fault((width, height): (u32, u32), expected: String) -> Error {
    let found = format!("{width}×{height} pixels");
    Error::Picture { path: None, kind: PictureErrorKind::Size, found, expected, source: None }
}
