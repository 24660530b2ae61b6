//! Model folders, and what must work with every model that loads.

use super::accepted;

use crossalign::engine::{Model, ModelOptions};
use crossalign::model::{Activation, PictureViews};
use crossalign::{Picture, Result};
use std::path::Path;
use tempfile::TempDir;

pub(super) const TRANSFORMERS: &[u8] = include_bytes!("../../tests/golden/models/transformers/model.safetensors");
pub(super) const TRANSFORMERS_CONFIG: &[u8] = include_bytes!("../../tests/golden/models/transformers/config.json");
pub(super) const OPENAI: &[u8] = include_bytes!("../../tests/golden/models/openai/model.safetensors");
pub(super) const OPEN_CLIP: &[u8] = include_bytes!("../../tests/golden/models/open_clip/open_clip_model.safetensors");
pub(super) const OPEN_CLIP_CONFIG: &[u8] = include_bytes!("../../tests/golden/models/open_clip/open_clip_config.json");
pub(super) const TOKENIZER: &[u8] = include_bytes!("../../tests/golden/tokenizer.json");

/// A model's folder, as long as it is used.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("room for a file");
        }
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The model, unless it is refused by an error that names its folder.
    pub(super) fn load(&self, options: ModelOptions) -> Option<Model> {
        accepted(self.try_load(options), &self.path().display().to_string())
    }

    fn try_load(&self, options: ModelOptions) -> Result<Model> {
        // One thread: starting more for every input is slow.
        let quick_gelu = self.is_bare().then_some(Activation::QuickGelu);
        Model::load(self.path(), &options.with_threads(1).with_activation(quick_gelu))
    }

    /// Whether no config tells the activation, as beside OpenAI's files.
    fn is_bare(&self) -> bool {
        !self.path().join("config.json").exists() && !self.path().join("open_clip_config.json").exists()
    }
}

/// A model of the golden files, for what is not about loading.
pub(super) fn golden(options: ModelOptions) -> Model {
    let files =
        [("model.safetensors", TRANSFORMERS), ("config.json", TRANSFORMERS_CONFIG), ("tokenizer.json", TOKENIZER)];
    Folder::with(&files).load(options).expect("the golden model loads")
}

/// A picture of six pixels.
pub(super) fn small_picture() -> Picture {
    Picture::new(3, 2, (0..18).map(|i| i * 14).collect()).expect("18 bytes")
}

/// Both towers of a model that was loaded give embeddings.
pub(super) fn assert_encodes(model: &Model) {
    let (picture, config) = (small_picture(), model.config());
    let plan = config.plan_views((3, 2), &[]).expect("a plan for the model's image size");
    let job = PictureViews { picture: picture.as_rgb(), plan: &plan };
    let views = model.encode_views(&[job], true).expect("a view's embedding");
    let texts = model.encode_texts(&["a photo of a cat"], true).expect("a text's embedding").embeddings;
    for embeddings in [views, texts] {
        assert_eq!((embeddings.len(), embeddings.width), (1, config.embed));
    }
}
