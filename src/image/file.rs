//! A picture's bytes, read within bounds.

use super::DecodeOptions;
use super::fault::too_long;
use crate::error::{Error, Result};
use std::fs::{File, FileType, metadata};
use std::io::Read;
use std::path::Path;

/// The content of a file or of a pipe.
///
/// # Errors
/// When it cannot be read, is something else, such as a device, which may have no end, or has more bytes than
/// [`DecodeOptions::max_bytes`].
pub(crate) fn read_file(path: &Path, options: &DecodeOptions) -> Result<Vec<u8>> {
    let metadata = metadata(path).map_err(Error::io(path))?;
    let kind = metadata.file_type();
    if !kind.is_file() && !is_pipe(kind) {
        let found = if kind.is_dir() { "a folder" } else { "a device" };
        return Err(Error::file(path, "picture", found, "a regular file or a pipe"));
    }
    if metadata.len() > options.max_bytes() {
        return Err(too_long(options.max_bytes()).in_file(path));
    }
    read_picture(File::open(path).map_err(Error::io(path))?, path, options)
}

/// The content of a reader; errors name it `path`.
///
/// # Errors
/// When it cannot be read or has more bytes than [`DecodeOptions::max_bytes`].
pub(crate) fn read_picture(reader: impl Read, path: &Path, options: &DecodeOptions) -> Result<Vec<u8>> {
    let (mut bytes, most) = (Vec::new(), options.max_bytes());
    reader.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > most { Err(too_long(most).in_file(path)) } else { Ok(bytes) }
}

#[cfg(unix)]
fn is_pipe(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_pipe(_: FileType) -> bool {
    false
}
