//! Finds a model's weights among a folder's files.

use super::foreign;
use super::source::Source;
use super::weights::WeightFiles;
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path};

/// The stems of weights files: transformers' (with OpenAI's own models in that form), then open_clip's.
const NAMES: [&str; 2] = ["model", "open_clip_model"];
/// What weights are called usually.
#[cfg(feature = "hub")]
pub(super) const USUAL: &str = "model.safetensors";
const EXTENSION: &str = ".safetensors";
const INDEX: &str = ".safetensors.index";

/// Formats that are not read: how their files' names end, what they are, and how to get safetensors.
const FORMATS: &[(&str, &str, &str)] = &[
    // First what needs no download.
    (".bin", "PyTorch weights", CONVERT),
    (".pth", "PyTorch weights", CONVERT),
    (".ckpt", "a PyTorch checkpoint", CONVERT),
    (".pt", "PyTorch weights", CONVERT_SCRIPT),
    (".gguf", "GGUF", DOWNLOAD),
    (".onnx", "an ONNX graph", DOWNLOAD),
    (".msgpack", "Flax weights", DOWNLOAD),
    (".h5", "TensorFlow weights", DOWNLOAD),
    (".ot", "rust-bert weights", DOWNLOAD),
];
const DOWNLOAD: &str =
    "safetensors: `hf download ORG/NAME --include \"*.safetensors\" \"*.json\" --local-dir DIR` fetches them";
const CONVERT: &str = "safetensors: `python -c \"import sys, torch, safetensors.torch as s; w = torch.load(sys.argv[1], \
    map_location='cpu'); w = w.get('state_dict', w); s.save_file({k: v.contiguous().clone() for k, v in w.items()}, \
    sys.argv[2])\" FILE model.safetensors` converts it";
const CONVERT_SCRIPT: &str = "safetensors: `python -c \"import sys, torch, safetensors.torch as s; w = torch.jit.load(sys.argv[1], \
    map_location='cpu').state_dict(); s.save_file({k: v.contiguous().clone() for k, v in w.items()}, sys.argv[2])\" FILE \
    model.safetensors` converts OpenAI's files";

/// `….safetensors.index.json`: the file that each tensor is in.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens a folder's weights.
pub(crate) fn open(source: &Source) -> Result<WeightFiles> {
    let name = find(source)?;
    if name.ends_with(EXTENSION) {
        return WeightFiles::open(source, &source.path(&name), &[name]);
    }
    let (map, parts) = read_index(source, &name)?;
    let weights = WeightFiles::open(source, &source.path(&name), &parts)?;
    match map.iter().find(|(tensor, part)| weights.part_of(tensor) != Some(part.as_str())) {
        None => Ok(weights),
        Some((tensor, part)) => Err(Error::MissingTensor {
            path: source.path(part),
            tensor: tensor.clone(),
            expected: format!("one, by {name}"),
        }),
    }
}

/// The files that [`open`] reads: the weights, or an index and its parts.
#[cfg(any(feature = "cli", feature = "hub"))]
pub(crate) fn files(source: &Source) -> Result<Vec<std::path::PathBuf>> {
    let name = find(source)?;
    let parts = parts(source, &name)?;
    Ok(std::iter::once(&name).chain(&parts).map(|name| source.path(name)).collect())
}

/// The parts that an index names; of weights that are whole none.
#[cfg(any(feature = "cli", feature = "hub"))]
pub(crate) fn parts(source: &Source, name: &str) -> Result<Vec<String>> {
    if name.ends_with(EXTENSION) { Ok(Vec::new()) } else { Ok(read_index(source, name)?.1) }
}

/// The name of a folder's weights or of their index: the file that was named, else what [`choose`] takes.
fn find(source: &Source) -> Result<String> {
    if let Source::Folder(_, Some(file)) = source {
        if file.ends_with(EXTENSION) || (file.contains(INDEX) && file.ends_with(".json")) {
            return Ok(file.clone());
        }
        return Err(no_weights(&source.path(file), std::slice::from_ref(file)));
    }
    choose(source.folder(), &source.list()?)
}

/// Of a folder's files the weights or their index: `model.safetensors` or `open_clip_model.safetensors`, else one of these in
/// parts, else one of these in a variant (`model.fp16.safetensors`), else the only safetensors file there is.
pub(crate) fn choose(folder: &Path, files: &[String]) -> Result<String> {
    let has = |name: &String| files.contains(name);
    let whole = NAMES.map(|name| format!("{name}{EXTENSION}")).into_iter();
    let parts = NAMES.map(|name| format!("{name}{INDEX}.json")).into_iter();
    if let Some(name) = whole.chain(parts).find(has) {
        return Ok(name);
    }
    let variant = |name: &&String| {
        NAMES.iter().any(|stem| {
            let indexed = name.strip_prefix(&format!("{stem}{INDEX}.")).and_then(|rest| rest.strip_suffix(".json"));
            let whole = name.strip_prefix(&format!("{stem}.")).and_then(|rest| rest.strip_suffix(EXTENSION));
            indexed.or(whole).is_some_and(|variant| !variant.contains('.') && !variant.contains("-of-"))
        })
    };
    let variants: Vec<&String> = files.iter().filter(variant).collect();
    let others: Vec<&String> = files.iter().filter(|name| name.ends_with(EXTENSION)).collect();
    match (variants.as_slice(), others.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one.to_string()),
        ([], []) => Err(no_weights(folder, files)),
        ([], several) | (several, _) => {
            let found = several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            Err(Error::file(folder, "weights", found, "one file; give the path of the one that is meant"))
        }
    }
}

/// An index's tensors with the parts that they are in, and the parts.
fn read_index(source: &Source, name: &str) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let path = source.path(name);
    let index: Index = serde_json::from_slice(&source.read(name)?)
        .map_err(|error| Error::parse(&path, "index", error, "an object with a weight_map of tensors to files"))?;
    let mut parts: Vec<String> = index.weight_map.values().cloned().collect();
    parts.sort();
    parts.dedup();
    // A name that leads out of the folder would read files that are not the model's.
    let plain = |part: &&String| Path::new(part).components().eq([Component::Normal(part.as_ref())]);
    if let Some(part) = parts.iter().find(|part| !plain(part) || !part.ends_with(EXTENSION)) {
        return Err(Error::file(&path, "weight_map", format!("{part:?}"), "the names of safetensors files beside it"));
    }
    if parts.is_empty() {
        return Err(Error::file(&path, "weight_map", "no tensors", "at least one"));
    }
    Ok((index.weight_map, parts))
}

/// The error for a folder without weights: what is there instead, and how to get safetensors of it.
fn no_weights(path: &Path, files: &[String]) -> Error {
    let foreign = FORMATS.iter().find_map(|(ending, format, remedy)| {
        let file = files.iter().find(|name| name.ends_with(ending))?;
        Some((format!("{format} ({file})"), remedy.to_string()))
    });
    match foreign {
        Some((found, expected)) => Error::UnsupportedModel { path: path.to_owned(), found, expected },
        None if files.iter().any(|name| name == "modules.json") => {
            foreign::unsupported(path, "a sentence-transformers folder; its CLIP is in 0_CLIPModel".into())
        }
        None => Error::file(path, "weights", "no safetensors file", "model.safetensors or open_clip_model.safetensors"),
    }
}
