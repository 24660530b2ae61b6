//! `open_clip_config.json`: open_clip's `CLIPVisionCfg`, `CLIPTextCfg` and `PreprocessCfg`.

use super::fields::Fields;
use super::{Config, MEANS, OPENAI, Pooling, Preprocessing, STDS, TowerConfig};
use crate::backend::Activation;
use crate::error::Result;
use crate::image::Resize;
use crate::model::foreign;
use serde_json::Value;

/// Reads the config, with the defaults of open_clip's dataclasses, and the preprocessing if the file has any.
pub(super) fn read(fields: Fields, activation: Option<Activation>) -> Result<(Config, Option<Preprocessing>)> {
    let model = fields.section_or_empty("model_cfg")?;
    let (vision, text) = (model.section_or_empty("vision_cfg")?, model.section_or_empty("text_cfg")?);
    foreign::check_open_clip(fields.path(), model.get("multimodal_cfg"), vision.get("layers"))?;
    check_vision(&vision)?;
    let end_token = check_text(&text)?;
    let quick_gelu = model.flag("quick_gelu", false)?;
    let config = Config {
        vision: tower(&vision, quick_gelu, activation, 768, None)?,
        image_size: vision.side("image_size", 224)?,
        patch_size: vision.side("patch_size", 16)?,
        pre_norm: !vision.flag("no_ln_pre", false)?,
        pooling: pooling(&vision)?,
        text: tower(&text, quick_gelu, activation, 512, Some(8))?,
        causal: !text.flag("no_causal_mask", false)?,
        vocabulary: text.count("vocab_size", 49_408)?,
        context: text.count("context_length", 77)?,
        end_token,
        embed: model.count("embed_dim", 512)?,
        ..OPENAI
    };
    config.check(fields.path())?;
    let preprocessing = fields.section("preprocess_cfg")?;
    let preprocessing = preprocessing.map(|fields| read_preprocessing(fields, config.image_size)).transpose()?;
    [vision, text, model, fields].into_iter().try_for_each(Fields::finish)?;
    Ok((config, preprocessing))
}

fn check_vision(fields: &Fields) -> Result<()> {
    fields.only("attentional_pool", &[false])?;
    fields.only("global_average_pool", &[false])?; // open_clip before 2.21, which averages the class token, too
    fields.only("input_patchnorm", &[false])?;
    fields.only::<&str>("timm_model_name", &[])?;
    // The weights have a fixed position table like a learned one.
    fields.only("pos_embed_type", &["learnable", "sin_cos_2d"])?;
    check_blocks(fields)
}

/// The end token that the tower pools at: the one that the config names, or else the highest id.
fn check_text(fields: &Fields) -> Result<Option<u32>> {
    fields.only::<&str>("hf_model_name", &[])?;
    fields.only::<&str>("hf_tokenizer_name", &[])?;
    fields.only("tokenizer_kwargs", &[Value::Object(Default::default())])?;
    fields.only("tokenizer_mode", &["clip"])?;
    fields.only("embed_cls", &[false])?;
    fields.only("proj_type", &["linear"])?;
    fields.flag("proj_bias", false)?; // a bias in the weights is added anyway
    fields.flag("final_ln_after_pool", false)?; // of one row: the same before and after
    check_blocks(fields)?;
    let pool = fields.only("pool_type", &["argmax", "eos"])?;
    let eos = fields.count("eos_id", 2)?;
    Ok(pool.is_some_and(|pool| pool == "eos").then_some(eos as u32))
}

/// Refuses open_clip's other attention blocks.
fn check_blocks(fields: &Fields) -> Result<()> {
    fields.only("output_tokens", &[false])?;
    fields.only("block_type", &["default"])?;
    let switches = ["qk_norm", "scaled_cosine_attn", "scaled_cosine", "scale_heads", "scale_attn_inner", "scale_attn"];
    switches.into_iter().chain(["scale_fc"]).try_for_each(|switch| fields.only(switch, &[false]).map(drop))
}

fn pooling(fields: &Fields) -> Result<Pooling> {
    let pool = fields.only("pool_type", &["tok", "avg"])?;
    let norm_last = fields.flag("final_ln_after_pool", false)?;
    Ok(match pool.and_then(Value::as_str) {
        Some("avg") if norm_last => Pooling::AverageThenNorm,
        Some("avg") => Pooling::NormThenAverage,
        _ => Pooling::ClassToken, // of one row: the same before and after the norm
    })
}

/// `width` and `heads` are the defaults of these fields; without one for `heads`, `head_width` tells their number.
fn tower(
    fields: &Fields,
    quick_gelu: bool,
    activation: Option<Activation>,
    width: usize,
    heads: Option<usize>,
) -> Result<TowerConfig> {
    let width = fields.count("width", width)?;
    let named = if quick_gelu { Activation::QuickGelu } else { gelu(fields)? };
    let norm = fields.section_or_empty("norm_kwargs")?;
    let eps = norm.number("eps", 1e-5)? as f32;
    norm.finish()?;
    Ok(TowerConfig {
        width,
        layers: fields.count("layers", 12)?,
        heads: match heads {
            Some(heads) => fields.count("heads", heads)?,
            None => width / fields.count("head_width", 64)?,
        },
        mlp: (width as f64 * fields.number("mlp_ratio", 4.0)?) as usize,
        activation: activation.unwrap_or(named),
        eps,
        layer_scale: fields.get("ls_init_value").is_some(),
    })
}

/// PyTorch's `nn.GELU` with the arguments of `act_kwargs`.
fn gelu(fields: &Fields) -> Result<Activation> {
    let arguments = fields.section_or_empty("act_kwargs")?;
    let tanh = arguments.only("approximate", &["none", "tanh"])?.is_some_and(|name| name == "tanh");
    arguments.finish()?;
    Ok(if tanh { Activation::GeluTanh } else { Activation::Gelu })
}

fn read_preprocessing(fields: Fields, image_size: u32) -> Result<Preprocessing> {
    fields.only("mode", &["RGB"])?;
    fields.only("interpolation", &["bicubic"])?;
    let squash = fields.only("resize_mode", &["shortest", "squash"])?.is_some_and(|mode| mode == "squash");
    let size = fields.side("size", image_size as usize)?;
    if size != image_size {
        return Err(fields.unsupported("size", &size.into(), format!("{image_size}, the vision tower's image size")));
    }
    let float = |values: [f64; 3]| values.map(|value| value as f32);
    let preprocessing = Preprocessing {
        mean: float(fields.triple("mean", OPENAI.mean, MEANS)?),
        std: float(fields.triple("std", OPENAI.std, STDS)?),
        resize: if squash { Resize::Squash } else { Resize::ShortestEdge },
    };
    fields.finish()?;
    Ok(preprocessing)
}
