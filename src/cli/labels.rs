//! `--labels`: a comma list, or a file.

use super::input;
use crate::align::Prompts;
use crate::error::{Error, Result};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf, is_separator};

/// Classes as the option gives them.
#[derive(Clone)]
pub(super) enum Labels {
    List(Vec<String>),
    File(PathBuf),
}

impl From<&str> for Labels {
    fn from(value: &str) -> Self {
        let path = Path::new(value);
        if input::is_stdin(path) || path.is_file() || looks_like_path(value) {
            Self::File(path.into())
        } else {
            Self::List(value.split(',').map(|label| label.trim().to_string()).collect())
        }
    }
}

impl Labels {
    pub(super) fn read(&self) -> Result<Vec<String>> {
        match self {
            Self::List(labels) => Ok(labels.clone()),
            Self::File(path) => {
                let text = input::read_text(path)?;
                check_extension(path, &text)?;
                Prompts::labels_from_text(&text).map_err(|error| error.in_file(path))
            }
        }
    }
}

/// Whether a value is meant as a path: by a separator or an extension. Classes of a list may have these in their names:
/// there, only a path's beginning or a text file's extension counts.
fn looks_like_path(value: &str) -> bool {
    let path = Path::new(value);
    let extension = extension(path);
    if value.contains(',') {
        let name_first = matches!(path.components().next(), Some(Component::Normal(_)) | None);
        return !name_first || ["txt", "json", "csv", "tsv"].contains(&&*extension);
    }
    let short = (2..=5).contains(&extension.len()) && extension.chars().all(|c| c.is_ascii_alphanumeric());
    value.contains(is_separator) || short && extension.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Refuses a file that its extension says to be something else than a list of classes.
fn check_extension(path: &Path, text: &str) -> Result<()> {
    let json = text.trim_start().starts_with('[');
    let (found, wrong) = match &*extension(path) {
        "json" => ("no JSON list", !json),
        "csv" | "tsv" => ("several columns", !json && text.contains([',', '\t'])),
        _ => return Ok(()),
    };
    let expected = "a JSON list of texts, or one class a line";
    if wrong { Err(Error::file(path, "labels", found, expected)) } else { Ok(()) }
}

fn extension(path: &Path) -> String {
    path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase()
}
