//! The cache, laid out as Python's `huggingface_hub` lays it out: what it writes is read, and it reads what is written here.
//!
//! ```text
//! models--ORG--NAME/refs/REVISION            the commit that a branch or tag was when it was fetched
//! models--ORG--NAME/blobs/ETAG               a file's content
//! models--ORG--NAME/snapshots/COMMIT/FILE    a link to it
//! models--ORG--NAME/.no_exist/COMMIT/FILE    empty: the commit has no such file
//! .locks/models--ORG--NAME/ETAG.lock         locked while the blob is fetched
//! ```

use super::{Hub, Name};
use crate::error::{Error, Result};
use crate::output;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

const PREFIX: &str = "models--";

/// A model's folder in the cache.
pub(crate) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    pub(crate) fn new(hub: &Hub, name: &Name) -> Self {
        let folder = format!("{PREFIX}{}", name.model().replace('/', "--"));
        Self { locks: hub.cache.join(".locks").join(&folder), folder: hub.cache.join(folder) }
    }

    /// The names of all models that have a folder.
    pub(crate) fn names(hub: &Hub) -> Result<Vec<Name>> {
        let names = list(&hub.cache)?.into_iter();
        Ok(names.filter_map(|name| name.strip_prefix(PREFIX)?.replacen("--", "/", 1).parse().ok()).collect())
    }

    /// The commit that a revision was when it was last asked for; a commit is itself.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.into());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    /// The folder of a commit's files.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The commits that have such a folder.
    pub(crate) fn snapshots(&self) -> Result<Vec<String>> {
        Ok(list(&self.folder.join("snapshots"))?.into_iter().filter(|name| is_commit(name)).collect())
    }

    /// All branches, tags and pull requests, each with its commit, in order.
    pub(crate) fn refs(&self) -> Vec<(String, String)> {
        let mut refs = Vec::new();
        self.add_refs(String::new(), &mut refs);
        refs
    }

    /// Adds those whose names begin with `prefix`.
    fn add_refs(&self, prefix: String, refs: &mut Vec<(String, String)>) {
        let folder = self.folder.join("refs").join(&prefix);
        for name in list(&folder).unwrap_or_default() {
            let revision = format!("{prefix}{name}");
            if folder.join(&name).is_dir() {
                self.add_refs(format!("{revision}/"), refs);
            } else if let Some(commit) = self.commit(&revision) {
                refs.push((revision, commit));
            }
        }
    }

    /// Keeps which commit a revision is.
    pub(crate) fn set_ref(&self, revision: &str, commit: &str) -> Result<()> {
        // A cache that is complete and may not be written to is not touched.
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        make_folder_of(&path)?;
        output::write_whole(&path, commit.as_bytes())
    }

    /// Whether a commit is known to have no such file.
    pub(crate) fn lacks(&self, commit: &str, file: &str) -> bool {
        self.lacking(commit, file).is_file()
    }

    /// Keeps that a commit has no such file, if that can be written: it saves a request.
    pub(crate) fn set_lacking(&self, commit: &str, file: &str) {
        let path = self.lacking(commit, file);
        if !path.exists() {
            let _ = make_folder_of(&path).and_then(|()| File::create(&path).map_err(Error::io(&path)));
        }
    }

    fn lacking(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }

    /// Where a file's content is.
    pub(super) fn blob(&self, etag: &str) -> Result<PathBuf> {
        let path = self.folder.join("blobs").join(etag);
        make_folder_of(&path)?;
        Ok(path)
    }

    /// Waits until no other process fetches a blob. None where the file system has no locks.
    pub(super) fn lock(&self, etag: &str) -> Result<Option<File>> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_folder_of(&path)?;
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(file.lock().is_ok().then_some(file))
    }

    /// Makes a blob a commit's file: by a link, or where there are none, by moving it.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str, blob: &Path) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        make_folder_of(&path)?;
        // A link whose blob was removed is in the way.
        if path.is_symlink() && !path.exists() {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        let target = Path::new("../../blobs").join(etag);
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(target, &path);
        #[cfg(windows)]
        let linked = std::os::windows::fs::symlink_file(target, &path);
        // Another process may have made it at the same time.
        if linked.is_ok() || path.is_file() { Ok(()) } else { fs::rename(blob, &path).map_err(Error::io(&path)) }
    }
}

/// A commit's hash: 40 digits, in small letters.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The names in a folder, in order; none where there is no such folder.
fn list(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::io(folder))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Makes the folder that a file will be in.
fn make_folder_of(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(Error::io(folder)))
}
