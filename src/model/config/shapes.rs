//! The dimensions of a model without a config, as OpenAI published them: read off the tensors' shapes.

use super::{Config, MAX_DIMENSION, OPENAI, OPENAI_HEAD, TowerConfig};
use crate::backend::Activation;
use crate::error::{Error, Result};
use crate::model::layout::{BlockPart, Layout, Part, Tower};
use crate::model::weights::Weights;

/// Reads everything off the shapes but the activation, which must be given.
pub(super) fn read(layout: Layout, weights: &dyn Weights, activation: Option<Activation>) -> Result<Config> {
    let path = weights.path();
    let activation = activation.ok_or_else(|| {
        Error::file(
            path,
            "activation",
            "no config file that tells it",
            "open_clip_config.json or config.json, or the activation as an option (OpenAI's weights: quick_gelu)",
        )
    })?;
    let dimensions = |name: String, rank: usize| -> Result<Vec<usize>> {
        let shape = weights.shape(&name)?;
        if shape.len() == rank && shape.iter().all(|&n| n > 0 && n as u64 <= MAX_DIMENSION) {
            Ok(shape.to_vec())
        } else {
            let expected = format!("{rank} dimensions from 1 to {MAX_DIMENSION}");
            Err(Error::file(path, format!("tensor {name}"), format!("shape {shape:?}"), expected))
        }
    };
    let tower = |tower: Tower, width: usize| -> Result<TowerConfig> {
        Ok(TowerConfig {
            width,
            layers: layout.count_blocks(weights, tower),
            heads: width / OPENAI_HEAD,
            mlp: dimensions(layout.block_part(tower, 0, BlockPart::Up) + ".weight", 2)?[0],
            activation,
            ..OPENAI.vision
        })
    };
    let patch = dimensions(layout.part(Part::PatchEmbedding) + ".weight", 4)?;
    let positions = dimensions(layout.part(Part::VisionPositions), 2)?[0];
    let tokens = dimensions(layout.part(Part::TokenEmbedding) + ".weight", 2)?;
    let side = (positions - 1).isqrt();
    let config = Config {
        vision: tower(Tower::Vision, patch[0])?,
        image_size: (side * patch[3]).min(u32::MAX as usize) as u32,
        patch_size: patch[3] as u32,
        text: tower(Tower::Text, tokens[1])?,
        vocabulary: tokens[0],
        context: dimensions(layout.part(Part::TextPositions), 2)?[0],
        embed: layout.embed_width(weights)?,
        ..OPENAI
    };
    config.check(path)?;
    Ok(config)
}
