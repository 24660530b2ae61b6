//! `preprocessor_config.json` and `processor_config.json` of transformers: `CLIPImageProcessor`.

use super::fields::{Fields, count};
use super::{MEANS, OPENAI, Preprocessing, STDS};
use crate::error::Result;
use crate::image::Resize;
use crate::model::source::Source;
use serde_json::{Value, json};

pub(super) const PREPROCESSOR: &str = "preprocessor_config.json";
pub(super) const PROCESSOR: &str = "processor_config.json";
/// Pillow's `Resampling.BICUBIC`.
const BICUBIC: u32 = 3;
/// All names that transformers gave the class.
const CLASSES: [&str; 4] =
    ["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor"];

/// The preprocessing of a folder's processor, where it has one. transformers 5 writes it into `processor_config.json`,
/// which it reads first.
pub(super) fn read(source: &Source, image_size: u32) -> Result<Option<Preprocessing>> {
    if source.has(PROCESSOR) {
        let fields = Fields::open(source, PROCESSOR)?;
        fields.only::<Value>("auto_map", &[])?;
        let processor = fields.section("image_processor")?;
        fields.finish()?;
        if let Some(processor) = processor {
            return read_fields(processor, image_size).map(Some);
        }
    }
    let there = source.has(PREPROCESSOR);
    there.then(|| read_fields(Fields::open(source, PREPROCESSOR)?, image_size)).transpose()
}

fn read_fields(fields: Fields, image_size: u32) -> Result<Preprocessing> {
    fields.only::<Value>("auto_map", &[])?;
    fields.only("image_processor_type", &CLASSES)?;
    fields.only("feature_extractor_type", &CLASSES)?;
    fields.only("do_resize", &[true])?;
    fields.only("do_convert_rgb", &[true])?;
    fields.only("do_pad", &[false])?;
    fields.only("resample", &[BICUBIC])?;
    let resize = resize(&fields, image_size)?;
    let (mean, std) = normalisation(&fields)?;
    fields.finish()?;
    Ok(Preprocessing { mean, std, resize })
}

/// Mean and standard deviation of values in 0 ..= 1 that have the effect of all the switches on `v` in 0 ..= 255:
/// `(v·factor − mean) / std = (v/255 − mean/k) / (std/k)` with `k = 255·factor`.
fn normalisation(fields: &Fields) -> Result<([f32; 3], [f32; 3])> {
    let means = fields.triple("image_mean", OPENAI.mean, MEANS)?;
    let stds = fields.triple("image_std", OPENAI.std, STDS)?;
    let factor = fields.number("rescale_factor", 1.0 / 255.0)?;
    let (mean, std) = if fields.flag("do_normalize", true)? { (means, stds) } else { ([0.0; 3], [1.0; 3]) };
    let factor = if fields.flag("do_rescale", true)? { factor } else { 1.0 };
    // The usual factor, as JSON has it, is not exactly 1/255: it must not touch the constants' last bits.
    let k = if (factor * 255.0 - 1.0).abs() < 1e-9 { 1.0 } else { factor * 255.0 };
    let scale = |values: [f64; 3]| values.map(|value| (value / k) as f32);
    Ok((scale(mean), scale(std)))
}

/// Resizing and the centre crop after it, which together must give a square of the model's size.
fn resize(fields: &Fields, image_size: u32) -> Result<Resize> {
    let side = image_size as usize;
    let crop = fields.flag("do_center_crop", true)?;
    let to_square = fields.flag("default_to_square", false)?;
    let squash = fields.flag("use_square_size", false)?;
    let both = format!("{{\"height\": {side}, \"width\": {side}}}");
    let (shortest, square) = (json!({"shortest_edge": side}), json!({"height": side, "width": side}));
    let resize = match fields.get("size").map(|size| (size, without_nulls(size))) {
        None => Resize::ShortestEdge,
        Some((_, size)) if size == shortest && squash => Resize::Squash,
        Some((_, size)) if size == shortest => Resize::ShortestEdge,
        Some((_, size)) if size == square || size == json!([side, side]) => Resize::Squash,
        Some((_, size)) if count(&size) == Some(side) && (to_square || squash) => Resize::Squash,
        Some((_, size)) if count(&size) == Some(side) => Resize::ShortestEdge,
        Some((size, _)) => {
            let expected = format!("{side}, {{\"shortest_edge\": {side}}} or {both}: the model's image size");
            return Err(fields.unsupported("size", size, expected));
        }
    };
    match fields.get("crop_size").map(|size| (size, without_nulls(size))) {
        Some((size, plain))
            if crop && plain != square && plain != json!([side, side]) && count(&plain) != Some(side) =>
        {
            Err(fields.unsupported("crop_size", size, format!("{side} or {both}: the model's image size")))
        }
        _ if !crop && resize == Resize::ShortestEdge => {
            Err(fields.unsupported("do_center_crop", &json!(false), "true, or a size of equal height and width"))
        }
        _ => Ok(resize),
    }
}

/// An object without its fields that are null, as transformers writes unused sides.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        other => other.clone(),
    }
}
