//! The driver's cache of compiled pipelines, kept in a file for the next start.

use crate::lock::lock;
use crate::output::write_whole;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use xxhash_rust::xxh3::xxh3_128;

/// The variable with the file's folder; empty for no file.
const VARIABLE: &str = "CROSSALIGN_CACHE";

/// A pipeline cache and its file.
pub(super) struct Cache {
    pub(super) pipelines: wgpu::PipelineCache,
    file: Option<PathBuf>,
    /// Digest of what the file holds.
    stored: Mutex<u128>,
}

impl Cache {
    /// `None` if the device has no pipeline cache.
    pub(super) fn open(device: &wgpu::Device, adapter: &wgpu::AdapterInfo) -> Option<Self> {
        device.features().contains(wgpu::Features::PIPELINE_CACHE).then(|| {
            let file = folder().zip(wgpu::util::pipeline_cache_key(adapter)).map(|(folder, key)| folder.join(key));
            let (data, stored) = file.as_deref().and_then(read).unzip();
            let descriptor =
                wgpu::PipelineCacheDescriptor { label: Some("crossalign"), data: data.as_deref(), fallback: true };
            // SAFETY: the data is what `get_data` gave: `save` put its digest before it. wgpu and the driver check that
            // it belongs to this adapter and driver version.
            let pipelines = unsafe { device.create_pipeline_cache(&descriptor) };
            Self { pipelines, file, stored: Mutex::new(stored.unwrap_or(0)) }
        })
    }

    /// Writes the file if there is something new. That it cannot be written is no error: it is only a cache.
    pub(super) fn save(&self) {
        let (Some(file), Some(data)) = (&self.file, self.pipelines.get_data()) else { return };
        let (mut stored, digest) = (lock(&self.stored), xxh3_128(&data));
        if *stored != digest {
            let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
            if folder.is_ok() && write_whole(file, &[&digest.to_le_bytes()[..], &data].concat()).is_ok() {
                *stored = digest;
            }
        }
    }
}

/// The user's folder for caches.
fn folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        return (!folder.is_empty()).then(|| folder.into());
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let cache = variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home)?;
    Some(cache.join("crossalign"))
}

/// Data and digest of a file, if it is as `save` wrote it.
fn read(file: &Path) -> Option<(Vec<u8>, u128)> {
    let bytes = std::fs::read(file).ok()?;
    let (digest, data) = bytes.split_first_chunk()?;
    let digest = u128::from_le_bytes(*digest);
    (xxh3_128(data) == digest).then(|| (data.to_vec(), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unchanged_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cache");
        let data = b"pipelines";
        let mut bytes = xxh3_128(data).to_le_bytes().to_vec();
        bytes.extend_from_slice(data);
        assert_eq!(read(&file), None);
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&file), Some((data.to_vec(), xxh3_128(data))));
        for length in [0, 15, 16, bytes.len() - 1] {
            std::fs::write(&file, &bytes[..length]).unwrap();
            assert_eq!(read(&file), None, "{length} bytes");
        }
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&file), None);
    }
}
