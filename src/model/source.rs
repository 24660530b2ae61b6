//! Where a model's files are: in a folder, or compiled in.

use crate::error::{Error, Result};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use std::borrow::Cow;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::PathBuf;

/// A model's files by name.
pub(crate) enum Source {
    /// A folder.
    Folder(PathBuf),
    /// Compiled into the program: the model's name, its files' names and contents.
    #[cfg_attr(not(feature = "mini"), expect(dead_code, reason = "no model is built in"))]
    BuiltIn(&'static str, &'static [(&'static str, &'static [u8])]),
}

/// A file's bytes, without a copy where there can be none.
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
    /// Lets go of a range's memory: what was read once need not count beside what was made of it.
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
    /// A file's path; for a built-in one a name for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::BuiltIn(model, _) => PathBuf::from(model).join(name),
        }
    }

    /// Whether there is a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.join(name).exists(),
            Self::BuiltIn(..) => self.built_in(name).is_some(),
        }
    }

    /// A small file's content.
    pub(crate) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                std::fs::read(&path).map(Cow::Owned).map_err(Error::io(&path))
            }
            Self::BuiltIn(..) => self.built_in(name).map(Cow::Borrowed).ok_or_else(|| self.missing(name)),
        }
    }

    /// A large file's content, mapped.
    pub(crate) fn map(&self, name: &str) -> Result<Bytes> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let file = File::open(&path).map_err(Error::io(&path))?;
                // SAFETY: the map is read-only. Should another process truncate the file meanwhile, an access ends
                // this process; that is the price of not copying gigabytes, as for every program that maps weights.
                unsafe { Mmap::map(&file) }.map(Bytes::Mapped).map_err(Error::io(&path))
            }
            Self::BuiltIn(..) => self.built_in(name).map(Bytes::BuiltIn).ok_or_else(|| self.missing(name)),
        }
    }

    fn built_in(&self, name: &str) -> Option<&'static [u8]> {
        let Self::BuiltIn(_, files) = self else { return None };
        files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| *bytes)
    }

    fn missing(&self, name: &str) -> Error {
        Error::file(&self.path(name), "model", "no such file", "one")
    }
}
