//! A model's tensors by name: from safetensors files, memory-mapped and checked as they are read.

use super::source::{Bytes, Source};
use crate::error::{Error, Result};
use crate::lock::lock;
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Prefixes that training puts before all names: DistributedDataParallel, Lightning and others, torch.compile.
const PREFIXES: [&str; 4] = ["module.", "model.", "clip.", "_orig_mod."];

/// A source of named tensors.
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
        self.find(name).ok_or_else(|| missing(self.path(), name, "one".into()))
    }
}

/// A model's weights on disk, in one file or several.
pub(crate) struct WeightFiles {
    path: PathBuf,
    parts: Vec<Part>,
    /// The part that each tensor is in, by its name without the common prefix.
    index: BTreeMap<String, usize>,
    /// What all names in the files begin with.
    prefix: String,
    read: Mutex<HashSet<String>>,
}

/// One safetensors file.
struct Part {
    name: String,
    path: PathBuf,
    map: Bytes,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

impl WeightFiles {
    /// Maps the files and reads their headers; `path` is what messages name.
    pub(crate) fn open(source: &Source, path: &Path, names: &[String]) -> Result<Self> {
        let parts: Vec<Part> = names.iter().map(|name| Part::open(source, name)).collect::<Result<_>>()?;
        let mut index = BTreeMap::new();
        for (i, part) in parts.iter().enumerate() {
            for name in part.metadata.offset_keys() {
                if let Some(other) = index.insert(name.clone(), i) {
                    let (found, first) = (format!("one in {}, too", part.name), &parts[other].path);
                    return Err(Error::file(first, format!("tensor {name}"), found, "each tensor in one file"));
                }
            }
        }
        let prefix = common_prefix(index.keys());
        let index = index.into_iter().map(|(name, part)| (name[prefix.len()..].to_string(), part)).collect();
        Ok(Self { path: path.to_owned(), parts, index, prefix, read: Mutex::default() })
    }

    /// The file that a tensor, as the files name it, is in.
    pub(crate) fn part_of(&self, name: &str) -> Option<&str> {
        let part = self.index.get(name.strip_prefix(&self.prefix)?)?;
        Some(&self.parts[*part].name)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.index.keys().map(String::as_str)
    }

    /// The tensors that have not been read.
    pub(crate) fn unread(&self) -> Vec<&str> {
        let read = lock(&self.read);
        self.names().filter(|&name| !read.contains(name)).collect()
    }

    /// A number that tells models apart: a hash of `config`, the headers and the first bytes of every tensor. Whole
    /// tensors are not read, so that a tower that is not used stays on disk.
    pub(crate) fn fingerprint(&self, config: &str) -> u128 {
        const SAMPLE: usize = 512;
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(config.as_bytes());
        for part in &self.parts {
            hash.update(&part.map[..part.data]);
            for info in part.metadata.offset_keys().iter().filter_map(|name| part.metadata.info(name)) {
                let bytes = &part.map[part.range(info)];
                hash.update(&bytes[..bytes.len().min(SAMPLE)]);
            }
        }
        hash.digest128()
    }

    fn tensor(&self, name: &str) -> Option<(&Part, &TensorInfo)> {
        let part = &self.parts[*self.index.get(name)?];
        Some((part, part.metadata.info(&format!("{}{name}", self.prefix))?))
    }
}

impl Part {
    fn open(source: &Source, name: &str) -> Result<Self> {
        let (path, map) = (source.path(name), source.map(name)?);
        // Also checks that the tensors cover the rest of the file, no more and no less.
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            let expected = format!("a safetensors header for the file's {} bytes", map.len());
            Error::parse(&path, "header", error, expected)
        })?;
        let data = header + 8; // the header's length comes first, as a u64
        Ok(Self { name: name.to_string(), path, map, metadata, data })
    }

    /// Where a tensor's bytes are in the file.
    fn range(&self, info: &TensorInfo) -> Range<usize> {
        let (start, end) = info.data_offsets;
        self.data + start..self.data + end
    }
}

impl Weights for WeightFiles {
    fn path(&self) -> &Path {
        &self.path
    }

    fn find(&self, name: &str) -> Option<&[usize]> {
        self.tensor(name).map(|(_, info)| info.shape.as_slice())
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (part, info) = self.tensor(name).ok_or_else(|| missing(&self.path, name, format!("shape {shape:?}")))?;
        lock(&self.read).insert(name.to_string());
        if info.shape != shape {
            return Err(other_shape(&part.path, name, &info.shape, shape));
        }
        let error = |found: String, expected: &str| Error::file(&part.path, format!("tensor {name}"), found, expected);
        let bytes = &part.map[part.range(info)];
        let values: Vec<f32> = match info.dtype {
            Dtype::F32 => convert(bytes, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => convert(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            other => return Err(error(format!("{other:?} elements"), "F32, F16 or BF16")),
        };
        part.map.release(part.range(info));
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(i) => Err(error(format!("{} at element {i}", values[i]), "finite weights")),
        }
    }
}

pub(crate) fn missing(path: &Path, tensor: &str, expected: String) -> Error {
    Error::MissingTensor { path: path.to_owned(), tensor: tensor.to_string(), expected }
}

pub(crate) fn other_shape(path: &Path, tensor: &str, found: &[usize], expected: &[usize]) -> Error {
    let (path, tensor) = (path.to_owned(), tensor.to_string());
    Error::TensorShape { path, tensor, found: found.to_vec(), expected: expected.to_vec() }
}

/// The longest sequence of [`PREFIXES`] that all names begin with.
fn common_prefix<'a>(names: impl ExactSizeIterator<Item = &'a String> + Clone) -> String {
    let mut common = String::new();
    if names.len() == 0 {
        return common;
    }
    let longer = |common: &str| {
        let longer = PREFIXES.iter().map(|prefix| format!("{common}{prefix}"));
        longer.into_iter().find(|prefix| names.clone().all(|name| name.starts_with(prefix)))
    };
    while let Some(prefix) = longer(&common) {
        common = prefix;
    }
    common
}

/// Elements of `N` bytes, at any alignment.
fn convert<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| element(bytes)).collect()
}
