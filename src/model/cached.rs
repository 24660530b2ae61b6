//! The models in the cache, and which of them this crate runs.

use super::source::Source;
use super::{Config, TextCleaning, Tokenizer, open_files};
use crate::error::Result;
use crate::hub::{Hub, MAIN, Name, Repository};
use std::path::{Path, PathBuf};

/// A model of the hub in the cache.
#[derive(Debug)]
#[non_exhaustive]
pub struct CachedModel {
    /// Its name, with the revision unless that is `main`.
    pub name: Name,
    /// The commit.
    pub commit: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// The size of its files in the cache.
    pub bytes: u64,
    /// The model's dimensions; or why it is not run: it may be none of CLIP's, or a file may be missing.
    pub config: Result<Config>,
}

impl Hub {
    /// The models in the cache, in order of their names, each revision by itself. Configs, tokenizers and the headers of
    /// weights are read, no tensors.
    ///
    /// # Errors
    /// When the cache cannot be listed.
    pub fn models(&self) -> Result<Vec<CachedModel>> {
        let mut models = Vec::new();
        for name in Repository::names(self)? {
            let repository = Repository::new(self, &name);
            let refs = repository.refs();
            for commit in repository.snapshots()? {
                let folder = repository.snapshot(&commit);
                let mut of_commit = refs.iter().filter(|(_, other)| *other == commit).map(|(revision, _)| revision);
                let is_main = of_commit.clone().any(|revision| revision == MAIN);
                let revision = of_commit.next().unwrap_or(&commit);
                models.push(CachedModel {
                    name: if is_main { name.clone() } else { name.at(revision) },
                    bytes: bytes(&folder)?,
                    config: config(&folder),
                    commit,
                    folder,
                });
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }
}

/// What loading finds out before it reads tensors.
fn config(folder: &Path) -> Result<Config> {
    let source = Source::Folder(folder.to_owned(), None);
    let (_, _, config) = open_files(&source, None)?;
    Tokenizer::load(&source, TextCleaning::None, &config)?;
    Ok(config)
}

/// The size of a folder's files, behind their links.
fn bytes(folder: &Path) -> Result<u64> {
    let source = Source::Folder(folder.to_owned(), None);
    let size = |name: &String| source.path(name).metadata().map_or(0, |metadata| metadata.len());
    Ok(source.list()?.iter().map(size).sum())
}
