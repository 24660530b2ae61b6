//! Labelled pictures: a folder of class folders, or a CSV list.

use super::journal::Key;
use crate::align::{Class, Ranks};
use crate::cli::input;
use crate::cli::pictures::Listed;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A labelled picture, and its ranks where they are known.
pub(super) struct Sample {
    /// Its class, and the hash of its content once that is read.
    pub(super) key: Key,
    /// The ranks of an earlier run.
    pub(super) known: Option<Vec<Ranks>>,
}

impl Sample {
    fn of(class: &str) -> Self {
        Self { key: Key { content: String::new(), class: class.into() }, known: None }
    }
}

/// Lists the pictures, in an order that does not depend on the file system.
pub(super) fn list(data: &Path, classes: &[Class]) -> Result<Vec<Listed<Sample>>> {
    let samples = if data.is_dir() { list_folders(data, classes)? } else { list_csv(data, classes)? };
    if samples.is_empty() {
        return Err(Error::file(data, "data", "no pictures", "class folders with pictures, or path,class lines"));
    }
    Ok(samples)
}

/// `data/<class>/<picture>`; hidden files, and files beside the class folders, do not count.
fn list_folders(data: &Path, classes: &[Class]) -> Result<Vec<Listed<Sample>>> {
    let mut samples = Vec::new();
    for folder in entries(data)?.into_iter().filter(|path| path.is_dir()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let class = find(&name, classes).ok_or_else(|| unknown(&folder, "class", &name))?;
        let pictures = entries(&folder)?.into_iter().filter(|path| path.is_file());
        samples.extend(pictures.map(|path| Listed::new(path, Some(data), Sample::of(class))));
    }
    Ok(samples)
}

/// The entries of a folder that are not hidden, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// `path,class` lines, with or without that line as the header; paths are relative to the list's folder.
fn list_csv(data: &Path, classes: &[Class]) -> Result<Vec<Listed<Sample>>> {
    let text = input::read_text(data)?;
    let folder = data.parent().unwrap_or(Path::new(""));
    let mut options = csv::ReaderBuilder::new();
    let mut reader = options.has_headers(false).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let expected = "path,class lines";
    let mut samples = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|error| Error::file(data, "CSV", error.to_string(), expected))?;
        let line = format!("line {}", record.position().map_or(0, csv::Position::line));
        if record.len() != 2 {
            return Err(Error::file(data, line, format!("{} fields", record.len()), expected));
        }
        let (path, name) = (&record[0], &record[1]);
        if i == 0 && (path, name) == ("path", "class") {
            continue;
        }
        let class = find(name, classes).ok_or_else(|| unknown(data, &format!("{line}, class"), name))?;
        samples.push(Listed::new(folder.join(path), None, Sample::of(class)));
    }
    Ok(samples)
}

/// The class of this name; `_` may stand for a space.
fn find<'a>(name: &str, classes: &'a [Class]) -> Option<&'a str> {
    let find = |name: &str| classes.iter().find(|class| class.name == name);
    find(name).or_else(|| find(&name.replace('_', " "))).map(|class| class.name.as_str())
}

fn unknown(path: &Path, field: &str, name: &str) -> Error {
    Error::file(path, field, format!("{name:?}"), "a class of the prompts")
}
