//! What options name: files, or `-` for standard input.

use crate::error::{Error, Result};
use crate::image::{DecodeOptions, read_file, read_picture};
use crate::text_file;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Standard input in place of a file's path; `./-` is a file of this name.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The content of a file or of standard input.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    if !is_stdin(path) {
        return std::fs::read(path).map_err(no_such_file).map_err(Error::io(path));
    }
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

/// As [`read`], for a picture: refuses devices, and more bytes than the options allow.
pub(super) fn picture(path: &Path, options: &DecodeOptions) -> Result<Vec<u8>> {
    if is_stdin(path) {
        return read_picture(std::io::stdin().lock(), path, options);
    }
    read_file(path, options).map_err(|error| match error {
        Error::Io { path, source } => Error::Io { path, source: no_such_file(source) },
        error => error,
    })
}

/// Gives a missing file the same message on every system.
fn no_such_file(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        ErrorKind::NotFound => std::io::Error::new(ErrorKind::NotFound, "no such file"),
        _ => error,
    }
}

/// As [`read`], text.
pub(super) fn read_text(path: &Path) -> Result<String> {
    text_file::decode(read(path)?, path)
}

/// Refuses a second `-` among all that a command reads: standard input is read once.
pub(super) fn check(inputs: &[&Path]) -> Result<()> {
    match inputs.iter().filter(|path| is_stdin(path)).count() {
        0 | 1 => Ok(()),
        count => Err(Error::argument("standard input", format!("{count} times -"), "one input from it")),
    }
}
