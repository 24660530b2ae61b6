//! Model folders made of the golden ones, with something changed.

use super::forward::{self, Clip, Pooling, Tensors, Tower};
use crossalign::backend::Reference;
use crossalign::engine::{Model, ModelOptions, Towers};
use crossalign::image::{Resize, plan_views, resampled};
use crossalign::model::{Activation, PictureViews};
use crossalign::{DecodeOptions, Error, Picture};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is encoded to compare with the f64 forward pass: one text fills a context of 40.
pub const TEXTS: [&str; 3] = ["a photo of a cat.", "two dogs", "a rocket with flames, on the pad; "];

/// The largest difference of an element of a unit embedding in f32.
const TOLERANCE: f64 = 3e-6;

pub struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    /// A copy of `tests/golden/models/NAME`.
    pub fn golden(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(golden(name)).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().unwrap() == "expected" {
                continue; // results, no part of the model
            }
            std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).unwrap();
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    pub fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.file(from), self.file(to)).unwrap();
    }

    pub fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.file(file)).unwrap()).unwrap()
    }

    /// Sets a field of a JSON file: `vision_config.hidden_act`. The file and the objects on the way may be missing.
    pub fn set(&self, file: &str, field: &str, value: Value) {
        let mut json = if self.file(file).exists() { self.json(file) } else { Value::Object(Default::default()) };
        let mut place = &mut json;
        for name in field.split('.') {
            place = &mut place[name];
        }
        *place = value;
        self.write(file, json.to_string());
    }

    /// Changes the weights' tensors, which become f32.
    pub fn tensors(&self, change: impl FnOnce(&mut Tensors)) {
        let path = self.weights();
        let mut tensors = forward::read(&path);
        change(&mut tensors);
        write_tensors(&path, &tensors);
    }

    /// The weights of the golden models.
    pub fn weights(&self) -> PathBuf {
        let names = ["model.safetensors", "open_clip_model.safetensors"].map(|name| self.file(name));
        names.into_iter().find(|path| path.exists()).unwrap()
    }

    pub fn load(&self) -> Result<Model, Error> {
        self.load_with(Towers::Both, None)
    }

    pub fn load_with(&self, towers: Towers, activation: Option<Activation>) -> Result<Model, Error> {
        load(self.path(), towers, activation)
    }

    /// The model as the golden folder's configs describe it, with this folder's tensors.
    pub fn clip(&self) -> Clip {
        let tower = |heads, activation| Tower { heads, activation, eps: 1e-5, layer_scale: false };
        let tensors = forward::read(&self.weights());
        let packed = tensors.contains_key("visual.class_embedding");
        let float = |mean: [f64; 3]| mean.map(|x| 255.0 * x);
        let (mean, std) = match packed {
            true => ([0.5, 0.45, 0.55], [0.5, 0.4, 0.3]),
            false => ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
        };
        Clip {
            vision: if packed { tower(4, forward::gelu) } else { tower(3, forward::quick_gelu) },
            text: if packed { tower(2, forward::gelu) } else { tower(2, forward::quick_gelu) },
            image_size: if packed { 16 } else { 24 },
            mean: float(mean),
            std: float(std),
            squash: false,
            pre_norm: true,
            pooling: Pooling::Class,
            padded: None,
            tensors,
        }
    }
}

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models").join(name)
}

pub fn load(path: &Path, towers: Towers, activation: Option<Activation>) -> Result<Model, Error> {
    let options = ModelOptions::default()
        .with_device("cpu".parse().unwrap())
        .with_threads(1)
        .with_towers(towers)
        .with_activation(activation);
    Model::load(path, &options)
}

pub fn write_tensors(path: &Path, tensors: &Tensors) {
    let bytes = |values: &[f64]| values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect::<Vec<u8>>();
    let stored: Vec<_> = tensors.iter().map(|(name, (shape, values))| (name, shape, bytes(values))).collect();
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Whether a model's embeddings of a wide picture and of the texts are those of the f64 forward pass.
#[track_caller]
pub fn assert_gives(model: &Model, clip: &Clip, what: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures/landscape.png");
    let picture = Picture::open(file, &DecodeOptions::default()).unwrap();
    let size = (picture.width(), picture.height());
    let resize = if clip.squash { Resize::Squash } else { Resize::ShortestEdge };
    let view = resampled(&Reference, picture.as_rgb(), &plan_views(size, &[], clip.image_size, resize).unwrap());
    let expected = clip.image(&view.unwrap());
    let plan = model.config().plan_views(size, &[]).unwrap();
    let found = model.encode_views(&[PictureViews { picture: picture.as_rgb(), plan: &plan }], true).unwrap();
    assert_close(&found.data, &expected, &format!("{what}: image"));
    let found = model.encode_texts(&TEXTS, true).unwrap().embeddings;
    for (i, text) in TEXTS.iter().enumerate() {
        let ids = model.tokenizer().unwrap().encode(text).unwrap().ids;
        assert_close(found.row(i), &clip.text(&ids), &format!("{what}: {text}"));
    }
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    assert!(worst < TOLERANCE, "{what}: off by {worst}");
}

/// Whether loading fails with a message that has all these parts.
#[track_caller]
pub fn assert_refused(result: Result<Model, Error>, parts: &[&str]) -> Error {
    let error = result.err().unwrap_or_else(|| panic!("accepted; expected an error with {parts:?}"));
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}; expected {parts:?} in it");
    error
}
