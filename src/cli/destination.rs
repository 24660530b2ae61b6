//! What `-o` names: a file, or `-` for standard output.

use super::input::is_stdin;
use super::print;
use crate::error::{Error, Result};
use crate::model::weight_files;
use crate::output;
use same_file::Handle;
use std::path::{Path, PathBuf};

/// Where a result is written.
pub(super) struct Destination {
    path: PathBuf,
    /// The format, as a file extension.
    pub(super) format: &'static str,
}

impl Destination {
    /// Checks, before long work, that a result can be written to `path`, which is none of the `inputs`, and takes the
    /// format that its extension says, the first of `formats` where there is none.
    ///
    /// A folder among the inputs is a model's: its weights are inputs.
    pub(super) fn new(path: &Path, formats: &[&'static str], inputs: &[&Path]) -> Result<Self> {
        let path = path.to_owned();
        if is_stdout(&path) {
            return Ok(Self { path, format: formats[0] });
        }
        let format = format(&path, formats)?;
        // Only a regular file that exists can be one of the inputs.
        if path.is_file() {
            for input in inputs {
                refuse_input(&path, input)?;
            }
        }
        output::check(&path)?;
        Ok(Self { path, format })
    }

    /// Writes the result; a file appears whole or not at all.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        if is_stdout(&self.path) { print(bytes) } else { output::write_whole(&self.path, bytes) }
    }
}

/// Standard output in place of a file's path.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn format(path: &Path, formats: &[&'static str]) -> Result<&'static str> {
    // A device's or a pipe's name tells no format.
    let named = path.extension().filter(|_| path.is_file() || !path.exists());
    let Some(extension) = named else { return Ok(formats[0]) };
    let format = formats.iter().find(|&format| extension.eq_ignore_ascii_case(format));
    format.copied().ok_or_else(|| {
        let expected = formats.iter().map(|format| format!(".{format}")).collect::<Vec<_>>().join(" or ");
        Error::file(path, "output", format!("a name in .{}", extension.display()), expected)
    })
}

fn refuse_input(path: &Path, input: &Path) -> Result<()> {
    let output = Handle::from_path(path).map_err(Error::io(path))?;
    let same = |input: std::io::Result<Handle>| input.is_ok_and(|input| input == output);
    // Errors of an input are reported when it is read.
    let read = if is_stdin(input) {
        same(Handle::stdin())
    } else if input.is_dir() {
        weight_files(input).iter().any(|file| same(Handle::from_path(file)))
    } else {
        same(Handle::from_path(input))
    };
    if read { Err(Error::file(path, "output", "a file that this command reads", "another one")) } else { Ok(()) }
}
