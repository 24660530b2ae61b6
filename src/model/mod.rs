//! CLIP: config, weights, tokenizer, and the two towers' forward passes, written once over a [`Backend`](crate::backend::Backend).

mod average;
mod bpe;
#[cfg(feature = "hub")]
mod cached;
mod checkpoint;
mod config;
mod foreign;
mod layout;
#[cfg(feature = "mini")]
mod mini;
#[cfg(feature = "hub")]
mod named;
mod random;
mod source;
mod text;
mod text_cleaning;
mod tokenizer;
mod transformer;
mod vision;
mod weights;

use crate::error::Result;

pub(crate) use layout::{Layout, Tower};
pub(crate) use random::RandomWeights;
pub(crate) use source::Source;
pub(crate) use text::TextTower;
pub(crate) use transformer::Loader;
pub(crate) use vision::VisionTower;
pub(crate) use weights::{WeightFiles, Weights};

pub use crate::backend::Activation;
#[cfg(feature = "hub")]
pub use cached::CachedModel;
pub use config::{Config, Pooling, TowerConfig};
#[cfg(feature = "mini")]
pub(crate) use mini::MINI;
#[cfg(feature = "mini")]
pub use mini::MINI_PROMPTS;
pub use tokenizer::{TextCleaning, Tokenizer, Tokens};
pub use vision::PictureViews;

/// The files that a folder's weights are read from; empty where they cannot be told.
#[cfg(feature = "cli")]
pub(crate) fn weight_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    Source::open(folder).and_then(|source| checkpoint::files(&source)).unwrap_or_default()
}

/// A model's weights, mapped, and its config.
pub(crate) fn open_files(source: &Source, activation: Option<Activation>) -> Result<(WeightFiles, Layout, Config)> {
    let weights = checkpoint::open(source)?;
    let layout = Layout::detect(&weights)?;
    let config = Config::load(source, layout, &weights, activation)?;
    Ok((weights, layout, config))
}
