//! Output files appear whole or not at all.

use crate::error::{Error, Result};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The most symbolic links that are followed, as on Linux (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Writes a file by way of a temporary one beside it, so that a reader never sees half of it. A symbolic link stays, and
/// what it points to is replaced; a device or a pipe is written to.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    match target(path)? {
        None => std::fs::write(path, bytes).map_err(Error::io(path)),
        Some(target) => {
            let mut file = temporary(path, &target)?;
            file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(Error::io(path))?;
            file.persist(target).map(drop).map_err(|error| Error::io(path)(error.error))
        }
    }
}

/// Checks before long work that [`write_whole`] can write there.
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "for the command line"))]
pub(crate) fn check(path: &Path) -> Result<()> {
    target(path)?.map_or(Ok(()), |target| temporary(path, &target).map(drop))
}

/// The file to replace or to make, behind all links; none for a device or a pipe, which cannot be replaced.
fn target(path: &Path) -> Result<Option<PathBuf>> {
    let metadata = match path.metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return missing(path).map(Some),
        metadata => metadata.map_err(Error::io(path))?,
    };
    if metadata.is_dir() {
        return Err(Error::file(path, "output", "a folder", "a file"));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.permissions().readonly() {
        return Err(Error::file(path, "output", "a read-only file", "one that may be replaced"));
    }
    // Opening refuses a file that this user may not write, though its folder would allow replacing it.
    std::fs::File::options().write(true).open(path).map_err(Error::io(path))?;
    path.canonicalize().map(Some).map_err(Error::io(path))
}

/// The file to make, behind any links that point to it.
fn missing(path: &Path) -> Result<PathBuf> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(link) = target.read_link() else { break };
        target = folder(&target).join(link);
    }
    let folder = if path.as_os_str().as_encoded_bytes().ends_with(b"/") { path } else { folder(&target) };
    if folder.is_dir() {
        return Ok(target);
    }
    let reason = format!("no such folder: {}", folder.display());
    Err(Error::io(path)(std::io::Error::new(ErrorKind::NotFound, reason)))
}

fn temporary(path: &Path, target: &Path) -> Result<tempfile::NamedTempFile> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only Unix has the permissions below"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less the umask, as for any new file
    builder.tempfile_in(folder(target)).map_err(Error::io(path))
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
