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

/// A picture, and whether it is a photograph.
pub(super) fn open(path: &Path, options: &DecodeOptions) -> Result<(Picture, bool)> {
    let bytes = input::picture(path, options)?;
    let picture = Picture::decode(&bytes, options).map_err(|error| error.in_file(path))?;
    Ok((picture, is_photograph(&bytes)))
}

/// Whether a file is a JPEG, the only sign of a photograph that a file has.
fn is_photograph(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\xff\xd8\xff")
}

/// A file that may be a picture, with what else a command tells of it.
#[derive(Clone)]
pub(super) struct Listed<T = ()> {
    pub(super) path: PathBuf,
    /// The folder that it was found in or below; none for a file that was named.
    folder: Option<PathBuf>,
    /// Whether it is a photograph, once it is read.
    pub(super) photograph: bool,
    pub(super) tag: T,
}

impl<T> Listed<T> {
    pub(super) fn new(path: PathBuf, folder: Option<&Path>, tag: T) -> Self {
        Self { path, folder: folder.map(Path::to_owned), photograph: false, tag }
    }

    pub(super) fn read(&mut self, options: &DecodeOptions) -> Result<Vec<u8>> {
        let bytes = input::picture(&self.path, options)?;
        self.photograph = is_photograph(&bytes);
        Ok(bytes)
    }
}

/// Reads files for a stream.
pub(super) fn reader(options: DecodeOptions) -> impl Fn(&mut Listed) -> Result<Input> + Send + Sync {
    move |file: &mut Listed| file.read(&options).map(Input::Bytes)
}

/// Gives the result of each picture to `take`, with a progress bar, and reports other errors in the form of `words`.
/// Returns how many pictures failed, and the files of folders that are no pictures, which are only counted.
pub(super) fn each<T, R>(
    results: impl Iterator<Item = (Listed<T>, Result<R>)>,
    unfinished: &Unfinished<'_>,
    words: fn(&Path, Error) -> String,
    mut take: impl FnMut(Listed<T>, R) -> Result<()>,
) -> Result<(usize, Strays)> {
    let (mut failed, mut strays) = (0, Strays::default());
    let bar = progress(unfinished.paths.len());
    for (done, (file, result)) in results.enumerate() {
        match result {
            Ok(result) => bar.suspend(|| take(file, result))?,
            // A device's failure is no picture's fault: it ends the command.
            Err(Error::Device { device, reason }) => return Err(unfinished.error(&device, &reason, done)),
            Err(error) if strays.count(&file, &error) => {}
            Err(error) => {
                failed += 1;
                bar.suspend(|| report(&words(&file.path, error)));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    strays.report();
    Ok((failed, strays))
}

/// What to report of a command's pictures where a device fails for good.
pub(super) struct Unfinished<'a> {
    /// All pictures of the command, in order.
    pub(super) paths: Vec<PathBuf>,
    pub(super) format: Format,
    /// How to go on.
    pub(super) advice: &'a str,
}

impl<'a> Unfinished<'a> {
    pub(super) fn new<T>(files: &[Listed<T>], format: Format, advice: &'a str) -> Self {
        Self { paths: files.iter().map(|file| file.path.clone()).collect(), format, advice }
    }

    /// The device's error, with how many pictures have no result, in JSON which ones, and how to go on.
    fn error(&self, device: &str, reason: &str, done: usize) -> Error {
        let left: Vec<_> = self.paths[done..].iter().map(|path| path.to_string_lossy()).collect();
        let names = if self.format == Format::Json { format!(" {}", json!(left)) } else { String::new() };
        let (count, all, advice) = (left.len(), self.paths.len(), self.advice);
        Error::device(device, format!("{reason}; {count} of {all} pictures have no result{names}: {advice}"))
    }
}

/// A bar on stderr for long lists, on a terminal only.
fn progress(files: usize) -> ProgressBar {
    if files < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left");
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The files, with folders replaced by the files in them, with `recursive` also below them, in order of their names;
/// and what could not be listed. Names that begin with a dot, and all but regular files, are left out.
pub(super) fn list(images: &[PathBuf], recursive: bool) -> (Vec<Listed>, Vec<Error>) {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for image in images {
        if input::is_stdin(image) || !image.is_dir() {
            files.push(Listed::new(image.clone(), None, ()));
            continue;
        }
        let before = files.len() + errors.len();
        let depth = if recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(image).min_depth(1).max_depth(depth).follow_links(true).sort_by_file_name();
        let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().as_encoded_bytes()[0] == b'.';
        for entry in walk.into_iter().filter_entry(|entry| !hidden(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    files.push(Listed::new(entry.into_path(), Some(image), ()));
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

/// Files of folders that are not pictures, which is no error: for each folder the first one, and their number.
#[derive(Default)]
pub(super) struct Strays(Vec<(PathBuf, PathBuf, usize)>);

impl Strays {
    /// Counts a file that could not be opened, if it was found in a folder and is no picture, nor named as one.
    fn count<T>(&mut self, Listed { path, folder, .. }: &Listed<T>, error: &Error) -> bool {
        let no_picture = matches!(error, Error::Picture { kind: PictureErrorKind::NoPicture, .. });
        let Some(folder) = folder.as_ref().filter(|_| no_picture && !is_named_as_picture(path)) else { return false };
        match self.0.iter_mut().find(|(known, ..)| known == folder) {
            Some((.., count)) => *count += 1,
            None => self.0.push((folder.clone(), path.clone(), 1)),
        }
        true
    }

    /// Reports one line a folder.
    fn report(&self) {
        for (folder, first, count) in &self.0 {
            let (folder, first) = (folder.display(), first.strip_prefix(folder).unwrap_or(first).display());
            report(&match count {
                1 => format!("1 file in {folder} is not a picture: {first}"),
                _ => format!("{count} files in {folder} are not pictures: {first}, …"),
            });
        }
    }

    /// Whether there is a folder of which all `files` are strays: it was meant to hold pictures.
    pub(super) fn fill_a_folder(&self, files: &[Listed]) -> bool {
        let all = |folder: &PathBuf| files.iter().filter(|file| file.folder.as_ref() == Some(folder)).count();
        self.0.iter().any(|(folder, _, count)| *count == all(folder))
    }
}
