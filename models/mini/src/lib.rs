#![doc = include_str!("../README.md")]

macro_rules! files {
    ($($name:literal),+) => {
        &[$(($name, include_bytes!(concat!("../", $name)))),+]
    };
}

/// The model's folder as transformers lays it out: each file's name and bytes.
pub const FILES: &[(&str, &[u8])] =
    files!("config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors");

/// Descriptions of 100 common concepts: a JSON object of class names, each with its list.
pub const PROMPTS: &str = include_str!("../prompts.json");
