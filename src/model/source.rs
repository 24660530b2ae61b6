//! Where a model's files are: in a folder, or compiled in.

use crate::error::{Error, Result};
#[cfg(feature = "hub")]
use crate::hub::{Hub, Name};
use crate::text_file;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

/// How the text file begins that Git LFS leaves in place of a large one (its specification, version 1).
const LFS_POINTER: &[u8] = b"version https://git-lfs";
/// What is expected in place of a path that does not exist.
const MODEL: &str = if cfg!(feature = "hub") {
    "a model's folder, the path of its weights, or ORG/NAME or ORG/NAME@REVISION on the hub"
} else {
    "a model's folder, or the path of its weights (names on the hub are known with the feature hub)"
};

/// A model's files by name.
pub(crate) enum Source {
    /// A folder, and the weights file in it where one was named.
    Folder(PathBuf, Option<String>),
    /// Compiled into the program: the model's name, its files' names and contents.
    #[cfg_attr(not(feature = "mini"), expect(dead_code, reason = "no model is built in"))]
    BuiltIn(&'static str, &'static [(&'static str, &'static [u8])]),
}

/// A file's bytes, mapped or compiled in: not a copy.
pub(crate) enum Bytes {
    Mapped(Mmap),
    BuiltIn(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::BuiltIn(bytes) => bytes,
        }
    }
}

impl Bytes {
    /// Releases a range's pages, so that they do not take memory beside the tensor that was made of them.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // SAFETY: the map is a file's and read-only, so that a page that is touched again is read again.
            let released = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
            drop(released); // an advice: where it is refused, the memory stays
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

impl Source {
    /// A model's folder, or the path of its weights file; where there is neither, a model by its name on the hub.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Folder(path.to_owned(), None));
        }
        #[cfg(feature = "hub")]
        if let Some(name) = Name::of(path) {
            return Ok(Self::Folder(Hub::from_env()?.fetch(&name, |_| ())?, None));
        }
        let file = path.file_name().and_then(|name| name.to_str());
        match (path.parent(), file) {
            (Some(folder), Some(file)) if path.is_file() => Ok(Self::Folder(folder.to_owned(), Some(file.into()))),
            _ => Err(Error::file(path, "model", "no such folder", MODEL)),
        }
    }

    /// A file's path; for a built-in one a name for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The folder; for a built-in model a name for messages.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder, _) => folder,
            Self::BuiltIn(model, _) => Path::new(model),
        }
    }

    /// Whether there is a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(..) => self.path(name).is_file(),
            Self::BuiltIn(..) => self.built_in(name).is_ok(),
        }
    }

    /// The names of all files, in order.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        match self {
            Self::Folder(folder, _) => {
                let mut names = Vec::new();
                for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
                    let entry = entry.map_err(Error::io(folder))?;
                    if entry.path().is_file() {
                        names.push(entry.file_name().to_string_lossy().into_owned());
                    }
                }
                names.sort();
                Ok(names)
            }
            Self::BuiltIn(_, files) => Ok(files.iter().map(|(name, _)| name.to_string()).collect()),
        }
    }

    /// A small file's content, without a byte order mark.
    pub(crate) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::Folder(..) => {
                let path = self.path(name);
                let mut bytes = std::fs::read(&path).map_err(Error::io(&path))?;
                check_pointer(&path, &bytes)?;
                text_file::strip_mark(&mut bytes);
                Ok(Cow::Owned(bytes))
            }
            Self::BuiltIn(..) => self.built_in(name).map(Cow::Borrowed),
        }
    }

    /// A large file's content, mapped.
    pub(crate) fn map(&self, name: &str) -> Result<Bytes> {
        match self {
            Self::Folder(..) => {
                let path = self.path(name);
                let file = File::open(&path).map_err(Error::io(&path))?;
                // SAFETY: the map is read-only. Should another process truncate the file meanwhile, an access ends
                // this process; that is the price of not copying gigabytes, as for every program that maps weights.
                let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
                check_pointer(&path, &map)?;
                Ok(Bytes::Mapped(map))
            }
            Self::BuiltIn(..) => self.built_in(name).map(Bytes::BuiltIn),
        }
    }

    fn built_in(&self, name: &str) -> Result<&'static [u8]> {
        let file = match self {
            Self::BuiltIn(_, files) => files.iter().find(|(file, _)| *file == name),
            Self::Folder(..) => None,
        };
        file.map(|(_, bytes)| *bytes).ok_or_else(|| Error::file(&self.path(name), "model", "no such file", "one"))
    }
}

/// Refuses what Git LFS leaves where it has not fetched the file.
fn check_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if !bytes.starts_with(LFS_POINTER) {
        return Ok(());
    }
    Err(Error::file(path, "content", "a Git LFS pointer", "the file itself: run `git lfs pull` in its folder"))
}
