//! Text files: UTF-8, with or without a byte order mark.

use crate::error::{Error, Result};
use std::path::Path;

/// A mark that some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    decode(std::fs::read(path).map_err(Error::io(path))?, path)
}

/// The text of a file's bytes; `path` is for messages.
pub(crate) fn decode(mut bytes: Vec<u8>, path: &Path) -> Result<String> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Error::file(path, "text", "UTF-16", "UTF-8"));
    }
    strip_mark(&mut bytes);
    // UTF-16 without its mark has these; text in UTF-8 does not.
    if bytes.contains(&0) {
        return Err(Error::file(path, "text", "a zero byte, as in UTF-16 or a binary file", "UTF-8"));
    }
    String::from_utf8(bytes).map_err(|error| Error::parse(path, "text", error.utf8_error(), "UTF-8"))
}

/// Takes one byte order mark off the start.
pub(crate) fn strip_mark(bytes: &mut Vec<u8>) {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
}
