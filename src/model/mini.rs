//! `mini`: the small CLIP that is compiled into the crate.

use super::source::Source;

macro_rules! files {
    ($($name:literal),+) => {
        &[$(($name, include_bytes!(concat!("../../models/mini/", $name)))),+]
    };
}

pub(crate) const MINI: Source =
    Source::BuiltIn("mini", files!("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"));

/// Descriptions of 100 common concepts, as a prompts file.
pub const MINI_PROMPTS: &str = include_str!("../../models/mini/prompts.json");
