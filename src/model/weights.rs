//! Where a model's tensors come from: a safetensors file, memory-mapped and checked as it is read.

use super::source::{Bytes, Source};
use crate::error::{Error, Result};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Named tensors.
pub(crate) trait Weights {
    /// The file, for messages.
    fn path(&self) -> &Path;

    /// A tensor's shape; `None` where there is no tensor of this name.
    fn find(&self, name: &str) -> Option<&[usize]>;

    /// The tensor's elements as f32; its shape must be `shape` and every element finite.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;

    /// Whether there is a tensor of this name.
    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The shape of a tensor that must be there.
    fn shape(&self, name: &str) -> Result<&[usize]> {
        self.find(name).ok_or_else(|| Error::file(self.path(), format!("tensor {name}"), "no such tensor", "one"))
    }
}

/// A model's weights on disk.
pub(crate) struct WeightFile {
    path: PathBuf,
    map: Bytes,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

impl WeightFile {
    /// Maps the file and reads its header.
    pub(crate) fn open(source: &Source, name: &str) -> Result<Self> {
        let (path, map) = (source.path(name), source.map(name)?);
        // Also checks that the tensors cover the rest of the file, no more and no less.
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            let expected = format!("a safetensors header for the file's {} bytes", map.len());
            Error::file(&path, "header", error.to_string(), expected)
        })?;
        let data = header + 8; // the header's length comes first, as a u64
        Ok(Self { path, map, metadata, data })
    }

    /// A number that tells models apart: a hash of `config`, the header and the first bytes of every tensor. Whole
    /// tensors are not read, so that a tower that is not used stays on disk.
    pub(crate) fn fingerprint(&self, config: &str) -> u128 {
        const SAMPLE: usize = 512;
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(config.as_bytes());
        hash.update(&self.map[..self.data]);
        for info in self.metadata.offset_keys().iter().filter_map(|name| self.metadata.info(name)) {
            let bytes = self.bytes(info);
            hash.update(&bytes[..bytes.len().min(SAMPLE)]);
        }
        hash.digest128()
    }

    fn bytes(&self, info: &TensorInfo) -> &[u8] {
        &self.map[self.range(info)]
    }

    /// Where a tensor's bytes are in the file.
    fn range(&self, info: &TensorInfo) -> Range<usize> {
        let (start, end) = info.data_offsets;
        self.data + start..self.data + end
    }
}

impl Weights for WeightFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn find(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let error =
            |found: String, expected: String| Error::file(&self.path, format!("tensor {name}"), found, expected);
        let info =
            self.metadata.info(name).ok_or_else(|| error("no such tensor".into(), format!("shape {shape:?}")))?;
        if info.shape != shape {
            return Err(error(format!("shape {:?}", info.shape), format!("shape {shape:?}")));
        }
        let bytes = self.bytes(info);
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => convert(bytes, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => convert(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            other => return Err(error(format!("{other:?} elements"), "F32, F16 or BF16".into())),
        };
        self.map.release(self.range(info));
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(i) => Err(error(format!("{} at element {i}", values[i]), "finite weights".into())),
        }
    }
}

/// Elements of `N` bytes, at any alignment.
fn convert<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| element(bytes)).collect()
}
