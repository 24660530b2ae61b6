//! `mini`: the small CLIP that is compiled into the crate.

use super::source::Source;
use super::{Model, ModelOptions};
use crate::error::Result;

macro_rules! files {
    ($($name:literal),+) => {
        &[$(($name, include_bytes!(concat!("../../models/mini/", $name)))),+]
    };
}

pub(super) const MINI: Source =
    Source::BuiltIn("mini", files!("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"));

/// Descriptions of 100 common concepts, as a prompts file.
pub const MINI_PROMPTS: &str = include_str!("../../models/mini/prompts.json");

impl Model {
    /// Loads the built-in model; `models/mini/README.md` says what it can do and what it cannot.
    ///
    /// # Errors
    /// When the device cannot be opened.
    ///
    /// ```
    /// use crossalign::model::MINI_PROMPTS;
    /// use crossalign::{Model, Picture, Prompts};
    /// # let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/models/mini/example.png");
    /// let prompts = Prompts::from_json(MINI_PROMPTS, None)?;
    /// let classifier = Model::mini(&Default::default())?.compile(&prompts, &Default::default())?;
    /// let result = classifier.classify(&Picture::open(picture, &Default::default())?)?;
    /// println!("{}", result.predictions()[0].class);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn mini(options: &ModelOptions) -> Result<Self> {
        Self::from_source(&MINI, options)
    }
}
