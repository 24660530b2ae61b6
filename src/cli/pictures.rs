//! The pictures that a command is given: files, folders, standard input.

use super::options::Format;
use super::{input, report};
use crate::align::Input;
use crate::error::{Error, PictureErrorKind, Result};
use crate::image::{DecodeOptions, Picture};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// A picture, and what its file says of it.
pub(super) struct Opened {
    pub(super) picture: Picture,
    /// Whether it is a photograph, as far as the file tells: a JPEG.
    pub(super) photograph: bool,
}

pub(super) fn open(path: &Path, options: &DecodeOptions) -> Result<Opened> {
    let bytes = input::picture(path, options)?;
    let picture = Picture::decode(&bytes, options).map_err(|error| error.in_file(path))?;
    Ok(Opened { picture, photograph: is_photograph(&bytes) })
}

fn is_photograph(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xd8\xff")
}

/// A picture on its way through a stream.
pub(super) struct Streamed {
    /// Its place in the list.
    pub(super) at: usize,
    pub(super) path: PathBuf,
    /// As [`Opened::photograph`], once it is read.
    pub(super) photograph: bool,
}

impl Streamed {
    pub(super) fn new(at: usize, path: &Path) -> Self {
        Self { at, path: path.to_owned(), photograph: false }
    }

    /// All of a list.
    pub(super) fn list(files: &[Listed<'_>]) -> Vec<Self> {
        files.iter().enumerate().map(|(at, file)| Self::new(at, &file.path)).collect()
    }

    /// Reads the file.
    pub(super) fn reader(options: DecodeOptions) -> impl Fn(&mut Self) -> Result<Input> + Send + Sync {
        move |picture: &mut Self| input::picture(&picture.path, &options).map(|bytes| picture.input(bytes))
    }

    /// The file's content, for the stream.
    pub(super) fn input(&mut self, bytes: Vec<u8>) -> Input {
        self.photograph = is_photograph(&bytes);
        Input::Bytes(bytes)
    }
}

/// A device's error, with how many of all pictures have no result by it, in JSON which ones, and what to do.
pub(super) fn unfinished<'a>(
    error: Error,
    left: impl Iterator<Item = &'a Path>,
    all: usize,
    format: Format,
    advice: &str,
) -> Error {
    let Error::Device { device, reason } = error else { return error };
    let left: Vec<_> = left.map(Path::to_string_lossy).collect();
    let names = if format == Format::Json { format!(" {}", json!(left)) } else { String::new() };
    Error::device(device, format!("{reason}; {} of {all} pictures have no result{names}: {advice}", left.len()))
}

/// A bar on stderr for long lists, on a terminal only.
pub(super) fn progress(files: usize) -> ProgressBar {
    if files < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left");
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A file that may be a picture.
pub(super) struct Listed<'a> {
    pub(super) path: PathBuf,
    /// The folder that it was found in or below; none for a file that was named.
    pub(super) folder: Option<&'a Path>,
}

/// The files, with folders replaced by the files in them, with `recursive` also below them, in order of their names;
/// and what could not be listed. What begins with a dot, and what is no file, does not count.
pub(super) fn list(images: &[PathBuf], recursive: bool) -> (Vec<Listed<'_>>, Vec<Error>) {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for image in images {
        if input::is_stdin(image) || !image.is_dir() {
            files.push(Listed { path: image.clone(), folder: None });
            continue;
        }
        let before = files.len() + errors.len();
        let depth = if recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(image).min_depth(1).max_depth(depth).follow_links(true).sort_by_file_name();
        let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes()[0] == b'.';
        for entry in walk.into_iter().filter_entry(|entry| !hidden(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    files.push(Listed { path: entry.into_path(), folder: Some(image) });
                }
                Ok(_) => {}
                // A link to a folder that the walk is in: its files are listed already.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => {
                    let path = error.path().unwrap_or(image).to_owned();
                    errors.push(Error::io(&path)(error.into()));
                }
            }
        }
        if files.len() + errors.len() == before {
            let expected = if recursive { "pictures" } else { "pictures, or --recursive for those in its folders" };
            errors.push(Error::file(image, "folder", "no files", expected));
        }
    }
    (files, errors)
}

fn is_named_as_picture(file: &Path) -> bool {
    // What is decoded, and what cameras and phones write.
    const EXTENSIONS: [&str; 12] =
        ["avif", "bmp", "gif", "heic", "heif", "jpeg", "jpg", "jxl", "png", "tif", "tiff", "webp"];
    let extension = file.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&&*extension))
}

/// Files of folders that are not pictures, which is no fault of theirs: for each folder the first one, and how many.
#[derive(Default)]
pub(super) struct Strays<'a>(Vec<(&'a Path, PathBuf, usize)>);

impl<'a> Strays<'a> {
    /// Counts a file that could not be opened, if it was found in a folder and is no picture, nor named as one.
    pub(super) fn count(&mut self, file: &Path, folder: Option<&'a Path>, error: &Error) -> bool {
        let no_picture = matches!(error, Error::Picture { kind: PictureErrorKind::NoPicture, .. });
        let Some(folder) = folder.filter(|_| no_picture && !is_named_as_picture(file)) else { return false };
        match self.0.iter_mut().find(|(known, ..)| *known == folder) {
            Some((.., count)) => *count += 1,
            None => self.0.push((folder, file.to_owned(), 1)),
        }
        true
    }

    /// One line a folder.
    pub(super) fn report(&self) {
        for (folder, first, count) in &self.0 {
            let (folder, first) = (folder.display(), first.strip_prefix(folder).unwrap_or(first).display());
            report(&match count {
                1 => format!("1 file in {folder} is not a picture: {first}"),
                _ => format!("{count} files in {folder} are not pictures: {first}, …"),
            });
        }
    }

    /// Whether there is a folder of which all `files` are strays: it was meant to hold pictures.
    pub(super) fn fill_a_folder(&self, files: &[Listed<'_>]) -> bool {
        let all = |folder: &Path| files.iter().filter(|file| file.folder == Some(folder)).count();
        self.0.iter().any(|(folder, _, count)| *count == all(folder))
    }
}
