//! Classifier files: safetensors with the class vectors, and metadata that says what they are.

use super::compile::{CompileOptions, Compiled};
use crate::engine::Embeddings;
use crate::error::{Error, Result};
use crate::output::write_whole;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The metadata's `format`.
const FORMAT: &str = "crossalign-classifier-1";
/// The tensor with one row a class.
const VECTORS: &str = "class_vectors";

impl Compiled {
    /// Writes a classifier file; it appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes()?)
    }

    /// The content of a classifier file.
    ///
    /// # Errors
    /// When the vectors are not whole rows.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Self { options, classes, vectors, model, prompts, truncated } = self;
        let json = |value: serde_json::Result<String>| value.map_err(|error| unwritable(&error));
        let metadata = HashMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("options".to_string(), json(serde_json::to_string(options))?),
            ("classes".to_string(), json(serde_json::to_string(classes))?),
            ("model".to_string(), model.clone()),
            ("prompts".to_string(), prompts.clone()),
            ("truncated".to_string(), truncated.to_string()),
        ]);
        let shape = vec![vectors.len(), vectors.width];
        let bytes: Vec<u8> = vectors.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, shape, &bytes).map_err(|error| unwritable(&error))?;
        safetensors::serialize([(VECTORS, view)], Some(metadata)).map_err(|error| unwritable(&error))
    }

    /// Reads a classifier file.
    ///
    /// # Errors
    /// When the file is missing, damaged, or not a classifier of this version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&std::fs::read(path).map_err(Error::io(path))?).map_err(|error| error.in_file(path))
    }

    /// As [`Compiled::open`] from the file's content.
    ///
    /// # Errors
    /// As [`Compiled::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |found: String| Error::argument("classifier", found, "a file written by crossalign compile");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(e.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
        let metadata = header.metadata().as_ref().ok_or_else(|| damaged("no metadata".into()))?;
        let field = |name: &str| metadata.get(name).ok_or_else(|| damaged(format!("no metadata field {name:?}")));
        if field("format")? != FORMAT {
            return Err(damaged(format!("format {:?}", field("format")?)));
        }
        let options: CompileOptions =
            serde_json::from_str(field("options")?).map_err(|e| damaged(format!("options: {e}")))?;
        options.check()?;
        let classes: Vec<String> =
            serde_json::from_str(field("classes")?).map_err(|e| damaged(format!("classes: {e}")))?;
        let tensor = tensors.tensor(VECTORS).map_err(|e| damaged(e.to_string()))?;
        let &[rows, width] = tensor.shape() else {
            return Err(damaged(format!("{VECTORS} of shape {:?}", tensor.shape())));
        };
        if tensor.dtype() != Dtype::F32 || rows != classes.len() || rows == 0 || width == 0 {
            let (dtype, count) = (tensor.dtype(), classes.len());
            return Err(damaged(format!("{VECTORS} {dtype:?} {rows}×{width} for {count} classes")));
        }
        let data: Vec<f32> = tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        if let Some(value) = data.iter().find(|value| !value.is_finite()) {
            return Err(damaged(format!("{value} in {VECTORS}")));
        }
        Ok(Self {
            options,
            classes,
            vectors: Embeddings { width, data },
            model: field("model")?.clone(),
            prompts: field("prompts")?.clone(),
            truncated: field("truncated")?.parse().map_err(|e| damaged(format!("truncated: {e}")))?,
        })
    }
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::argument("classifier", error.to_string(), "one that can be written as safetensors")
}
