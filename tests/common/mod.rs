//! Reference data: what PyTorch, transformers and Pillow computed.
#![allow(dead_code, reason = "each test file uses its part")]

#[cfg(feature = "cuda")]
pub mod cuda;

use crossalign::backend::{Rgb, SimdLevel};
use crossalign::engine::{Model, ModelOptions};
use crossalign::image::CropBox;
use crossalign::model::Activation;
use crossalign::{DecodeOptions, Picture, Prompts};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A set of reference data: `tests/golden`, or the larger shared one of the same structure.
pub struct Reference {
    pub root: PathBuf,
    index: Value,
}

impl Reference {
    pub fn golden() -> Self {
        Self::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), "golden.json")
    }

    pub fn shared() -> Self {
        Self::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/reference"), "reference.json")
    }

    fn open(root: PathBuf, index: &str) -> Self {
        let index = json(&root.join(index));
        Self { root, index }
    }

    /// Names of the pictures, with the boxes of their local views.
    pub fn pictures(&self) -> Vec<(String, Vec<CropBox>)> {
        let boxes = |entry: &Value| {
            let json = entry["boxes"].to_string();
            CropBox::list_from_json(&json, Path::new("boxes")).unwrap()
        };
        self.index["pictures"].as_object().unwrap().iter().map(|(name, entry)| (name.clone(), boxes(entry))).collect()
    }

    pub fn picture_path(&self, name: &str) -> PathBuf {
        self.root.join(format!("pictures/{name}.png"))
    }

    pub fn picture(&self, name: &str) -> Picture {
        Picture::open(self.picture_path(name), &DecodeOptions::default()).unwrap()
    }

    /// The classes' descriptions, in the order of the file.
    pub fn prompts_json(&self) -> String {
        // serde_json sorts keys; the file's order is found in its text.
        let classes = self.index["classes"].as_object().unwrap();
        let text =
            std::fs::read_to_string(self.root.join(if self.is_golden() { "golden.json" } else { "reference.json" }));
        let text = text.unwrap();
        let start = text.find("\"classes\"").unwrap();
        let mut names: Vec<&String> = classes.keys().collect();
        names.sort_by_key(|name| text[start..].find(&format!("\"{name}\"")).unwrap());
        let entry = |name: &&String| format!("{}: {}", Value::from(name.as_str()), classes[name.as_str()]);
        format!("{{{}}}", names.iter().map(entry).collect::<Vec<_>>().join(", "))
    }

    pub fn prompts(&self) -> Prompts {
        Prompts::from_json(&self.prompts_json()).unwrap()
    }

    fn is_golden(&self) -> bool {
        self.root.ends_with("tests/golden")
    }

    /// The models' folders.
    pub fn models(&self) -> Vec<PathBuf> {
        let mut models: Vec<PathBuf> =
            std::fs::read_dir(self.root.join("models")).unwrap().map(|entry| entry.unwrap().path()).collect();
        models.sort();
        assert!(!models.is_empty());
        models
    }
}

/// Loads a model; the one without a config has OpenAI's activation.
pub fn load(dir: &Path, options: ModelOptions) -> Model {
    let activation = dir.ends_with("openai").then_some(Activation::QuickGelu);
    Model::load(dir, &options.with_activation(activation)).unwrap()
}

pub fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A tensor of a safetensors file: its shape and bytes.
pub fn tensor(file: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

pub fn floats(file: &Path, name: &str) -> Vec<f32> {
    tensor(file, name).1.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

pub fn names(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_string).collect()
}

/// The levels that this machine has.
pub fn levels() -> impl Iterator<Item = SimdLevel> {
    SimdLevel::ALL.into_iter().filter(|level| level.is_available())
}

#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= tolerance;
        assert!(close, "{what}: element {i}: {found}, expected {expected} within {tolerance}");
    }
}

/// A JPEG of 48×32 pixels of noise with the EXIF orientation 6: to be turned clockwise.
pub fn turned_jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_raw(48, 32, noise(48, 32, 3)).unwrap();
    let mut file = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut file).encode_image(&picture).unwrap();
    let exif = b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    file.splice(2..2, exif.iter().copied());
    file
}

/// A picture of noise.
pub fn noise(width: u32, height: u32, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..width * height * 3).map(|_| byte()).collect()
}

pub fn rgb(picture: &Picture) -> Rgb<'_> {
    picture.as_rgb()
}
