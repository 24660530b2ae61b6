//! Classifier files: safetensors with the class vectors or the texts, and metadata that says what they are.

use super::compile::{CompileOptions, CompiledClassifier};
use super::texts::{Kept, Texts};
use crate::engine::Embeddings;
use crate::error::{Error, Result};
use crate::output::write_whole;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;

/// The metadata's `format`.
const FORMAT: &str = "crossalign-classifier-2";
/// The format before there were reductions and texts; its options lack these fields.
const FORMAT_1: &str = "crossalign-classifier-1";
/// The tensor with one row a class.
const VECTORS: &str = "class_vectors";
/// The tensors of the texts, beside the metadata's `texts`.
const EMBEDDINGS: &str = "text_embeddings";
const WEIGHTS: &str = "text_weights";
const OFFSETS: &str = "text_offsets";

impl CompiledClassifier {
    /// Writes a classifier file; it appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), &self.to_bytes()?)
    }

    /// The content of a classifier file: the same bytes for equal classifiers.
    ///
    /// # Errors
    /// When the vectors or texts do not match the number of classes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Self { options, classes, kept, model, prompts, truncated } = self;
        kept.check(classes.len())?;
        let mut metadata = HashMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("options".to_string(), json!(options).to_string()),
            ("classes".to_string(), json!(classes).to_string()),
            ("model".to_string(), model.clone()),
            ("prompts".to_string(), prompts.clone()),
            ("truncated".to_string(), truncated.to_string()),
        ]);
        let rows = kept.rows();
        let floats = |data: &[f32]| data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let shape = vec![rows.len(), rows.width];
        let tensors = match kept {
            Kept::Vectors(_) => vec![(VECTORS, Dtype::F32, shape, floats(&rows.data))],
            Kept::Texts(Texts { texts, embeddings: _, weights, offsets }) => {
                metadata.insert("texts".into(), json!(texts).to_string());
                let ends = offsets.iter().flat_map(|x| x.to_le_bytes()).collect();
                vec![
                    (EMBEDDINGS, Dtype::F32, shape, floats(&rows.data)),
                    (WEIGHTS, Dtype::F32, vec![weights.len()], floats(weights)),
                    (OFFSETS, Dtype::U32, vec![offsets.len()], ends),
                ]
            }
        };
        let view = |(name, dtype, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?));
        let views = tensors.iter().map(|(name, dtype, shape, bytes)| view((*name, *dtype, shape.clone(), bytes)));
        let file = views
            .collect::<Result<Vec<_>, _>>()
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|error| unwritable(&error))?;
        in_order(file).map_err(|error| unwritable(&error))
    }

    /// Reads a classifier file.
    ///
    /// # Errors
    /// When the file is missing, damaged, or not a classifier of this version or the one before.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_bytes(&std::fs::read(path).map_err(Error::io(path))?).map_err(|error| error.in_file(path))
    }

    /// As [`CompiledClassifier::open`] from the file's content.
    ///
    /// # Errors
    /// As [`CompiledClassifier::open`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let metadata = header.metadata().as_ref().ok_or_else(|| damaged("no metadata"))?;
        let field = |name: &str| {
            metadata.get(name).map(String::as_str).ok_or_else(|| damaged(format!("no metadata field {name:?}")))
        };
        let mut options: Map<String, Value> = parse("options", field("options")?)?;
        match field("format")? {
            FORMAT => {}
            FORMAT_1 => {
                options.entry("reduction").or_insert(json!("mean"));
                options.entry("keep_texts").or_insert(json!(false));
            }
            other => return Err(damaged(format!("format {other:?}"))),
        }
        let options: CompileOptions =
            serde_json::from_value(options.into()).map_err(|error| damaged(format!("options: {error}")))?;
        options.check()?;
        let classes: Vec<String> = parse("classes", field("classes")?)?;
        let kept = if options.keeps_texts() {
            Kept::Texts(Texts {
                texts: parse("texts", field("texts")?)?,
                embeddings: rows(&tensors, EMBEDDINGS)?,
                weights: numbers(&tensors, WEIGHTS, Dtype::F32, f32::from_le_bytes)?,
                offsets: numbers(&tensors, OFFSETS, Dtype::U32, u32::from_le_bytes)?,
            })
        } else {
            Kept::Vectors(rows(&tensors, VECTORS)?)
        };
        kept.check(classes.len())?;
        Ok(Self {
            options,
            classes,
            kept,
            model: field("model")?.into(),
            prompts: field("prompts")?.into(),
            truncated: field("truncated")?.parse().map_err(|error| damaged(format!("truncated: {error}")))?,
        })
    }
}

fn damaged(found: impl Display) -> Error {
    Error::argument("classifier", found.to_string(), "a file written by crossalign compile")
}

fn unwritable(error: &dyn std::error::Error) -> Error {
    Error::argument("classifier", error.to_string(), "one that can be written as safetensors")
}

fn parse<T: DeserializeOwned>(name: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| damaged(format!("{name}: {error}")))
}

/// Reads a tensor as an f32 matrix.
fn rows(tensors: &SafeTensors<'_>, name: &str) -> Result<Embeddings> {
    let tensor = tensors.tensor(name).map_err(damaged)?;
    let &[_, width] = tensor.shape() else {
        return Err(damaged(format!("{name} of shape {:?}", tensor.shape())));
    };
    Ok(Embeddings { width, data: numbers(tensors, name, Dtype::F32, f32::from_le_bytes)? })
}

/// Reads all elements of a tensor, which must have the type `dtype`.
fn numbers<T>(tensors: &SafeTensors<'_>, name: &str, dtype: Dtype, number: fn([u8; 4]) -> T) -> Result<Vec<T>> {
    let tensor = tensors.tensor(name).map_err(damaged)?;
    if tensor.dtype() != dtype {
        return Err(damaged(format!("{name} of {:?}", tensor.dtype())));
    }
    Ok(tensor.data().as_chunks().0.iter().map(|&bytes| number(bytes)).collect())
}

/// Sorts the header's fields, so that equal classifiers give equal bytes: safetensors writes metadata in hash map
/// order.
fn in_order(mut file: Vec<u8>) -> serde_json::Result<Vec<u8>> {
    let (length, rest) = file.split_first_chunk_mut().expect("a header's length comes first");
    let header = &mut rest[..u64::from_le_bytes(*length) as usize];
    let fields: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(header)?;
    let ordered = serde_json::to_vec(&fields)?;
    header[..ordered.len()].copy_from_slice(&ordered); // as long as it was: padding comes behind
    Ok(file)
}
