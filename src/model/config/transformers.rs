//! `config.json` of transformers: `CLIPConfig`.

use super::fields::Fields;
use super::{Config, OPENAI, TowerConfig};
use crate::backend::Activation;
use crate::error::Result;
use crate::model::foreign;
use serde_json::{Value, json};

/// transformers' older configs have 2 here and pool at the highest id, which is the end token
/// (transformers, pull request 24773).
const POOL_AT_HIGHEST: u64 = 2;

/// Reads the config; a missing field has the default of `CLIPConfig`, `CLIPTextConfig` or `CLIPVisionConfig`.
pub(super) fn read(fields: Fields, activation: Option<Activation>) -> Result<Config> {
    foreign::check_model_type(fields.path(), fields.get("model_type"), "clip")?;
    check_plain(&fields)?;
    let vision = tower_fields(&fields, "vision")?;
    let text = tower_fields(&fields, "text")?;
    vision.only("num_channels", &[3])?;
    let end_token = match text.get("eos_token_id") {
        Some(value) => match value.as_u64() {
            Some(POOL_AT_HIGHEST) => None,
            Some(id) if id <= u64::from(u32::MAX) => Some(id as u32),
            _ => return Err(text.unsupported("eos_token_id", value, "the id of the tokenizer's end token")),
        },
        None => Some(49_407),
    };
    let config = Config {
        vision: tower(&vision, activation, [768, 12, 3072])?,
        image_size: vision.side("image_size", 224)?,
        patch_size: vision.side("patch_size", 32)?,
        text: tower(&text, activation, [512, 8, 2048])?,
        vocabulary: text.count("vocab_size", 49_408)?,
        context: text.count("max_position_embeddings", 77)?,
        end_token,
        embed: fields.count("projection_dim", 512)?,
        ..OPENAI
    };
    config.check(fields.path())?;
    [vision, text, fields].into_iter().try_for_each(Fields::finish)?;
    Ok(config)
}

/// A tower's object. The older `…_config_dict`, where it is there, is read in place of `…_config`, as by transformers.
fn tower_fields(fields: &Fields, tower: &str) -> Result<Fields> {
    let (newer, older) = (format!("{tower}_config"), format!("{tower}_config_dict"));
    let config = fields.section_or_empty(&newer)?;
    let config = fields.section(&older)?.unwrap_or(config);
    foreign::check_model_type(config.path(), config.get("model_type"), &format!("clip_{tower}_model"))?;
    check_plain(&config)?;
    Ok(config)
}

/// Refuses what would turn a tower into another one than CLIP's.
fn check_plain(fields: &Fields) -> Result<()> {
    for switch in ["add_cross_attention", "is_decoder", "is_encoder_decoder"] {
        fields.only(switch, &[false])?;
    }
    fields.only::<Value>("pruned_heads", &[json!({}), json!([])])?;
    for code_or_codec in ["auto_map", "quantization_config"] {
        fields.only::<Value>(code_or_codec, &[])?;
    }
    Ok(())
}

fn tower(fields: &Fields, activation: Option<Activation>, [width, heads, mlp]: [usize; 3]) -> Result<TowerConfig> {
    let named = fields.activation("hidden_act", Activation::QuickGelu);
    Ok(TowerConfig {
        width: fields.count("hidden_size", width)?,
        layers: fields.count("num_hidden_layers", 12)?,
        heads: fields.count("num_attention_heads", heads)?,
        mlp: fields.count("intermediate_size", mlp)?,
        activation: activation.map_or(named, Ok)?,
        eps: fields.number("layer_norm_eps", 1e-5)? as f32,
        layer_scale: false,
    })
}
