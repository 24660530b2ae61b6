//! Other architectures, recognised by their configs and tensors so that they can be refused by name.

use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// What this crate runs.
const SUPPORTED: &str = "CLIP with two ViT towers, as saved by transformers (CLIPModel), OpenAI or open_clip";

/// transformers' `model_type`, and the model's name where it is not the same word.
const MODEL_TYPES: &[(&str, &str)] = &[
    ("align", "ALIGN"),
    ("altclip", "AltCLIP"),
    ("blip", "BLIP"),
    ("blip-2", "BLIP-2"),
    ("chinese_clip", "Chinese-CLIP"),
    ("clap", "CLAP, a model of sounds"),
    ("clip_text_model", "a CLIP text tower alone"),
    ("clip_vision_model", "a CLIP vision tower alone"),
    ("clipseg", "CLIPSeg"),
    ("flava", "FLAVA"),
    ("groupvit", "GroupViT"),
    ("jina_clip", "Jina CLIP"),
    ("metaclip_2", "MetaCLIP 2"),
    ("owlvit", "OWL-ViT"),
    ("owlv2", "OWLv2"),
    ("siglip", "SigLIP"),
    ("siglip2", "SigLIP 2"),
    ("vision-text-dual-encoder", "a dual encoder of other towers"),
    ("xclip", "X-CLIP, a model of videos"),
];

/// Parts of tensor names that only these models have; the first match counts.
const TENSORS: &[(&str, &str)] = &[
    ("diffusion_model.", "a Stable Diffusion checkpoint"),
    ("cond_stage_model.", "a Stable Diffusion checkpoint"),
    ("bert.", "Chinese-CLIP"),
    ("vision_model.head.probe", "SigLIP"),
    ("visual.trunk.attn_pool.", "SigLIP in open_clip's form (a timm tower)"),
    ("visual.trunk.stages.", "a CLIP with a convolutional timm tower (ConvNeXt, MobileCLIP)"),
    ("visual.trunk.", "a CLIP with a timm tower"),
    ("image_encoder.model.", "MobileCLIP"),
    ("visual.attnpool.", "a CLIP with a ResNet tower"),
    ("visual.layer1.", "a CLIP with a ResNet tower"),
    ("visual.blocks.", "EVA-CLIP"),
    ("visual.cls_token", "EVA-CLIP"),
    ("text_decoder.", "CoCa"),
    ("visual.attn_pool.", "a CLIP with an attentional pooler (CoCa)"),
    ("text.transformer.embeddings.", "a CLIP with a Hugging Face text tower"),
];

/// As [`TENSORS`], where a tower is missing.
const FRAGMENTS: &[(&str, &str)] = &[
    (".lora_A", "a LoRA adapter without its model; merge it into the weights first (peft: merge_and_unload)"),
    ("text_model.embeddings.", "a CLIP text tower alone"),
    ("vision_model.embeddings.", "a CLIP vision tower alone"),
    ("visual.conv1.", "a CLIP vision tower alone"),
];

/// Refuses a config of another architecture.
pub(crate) fn check_model_type(path: &Path, found: Option<&Value>, expected: &str) -> Result<()> {
    match found {
        Some(value) if value != expected => {
            let field = value.to_string();
            let known = MODEL_TYPES.iter().find(|(model_type, _)| value == model_type);
            let name = known.map(|(_, name)| format!("{name} ")).unwrap_or_default();
            Err(unsupported(path, format!("{name}(model_type {field})")))
        }
        _ => Ok(()),
    }
}

/// Refuses open_clip's architectures that a config field reveals: CoCa's decoder, and a ResNet's four numbers of
/// layers.
pub(crate) fn check_open_clip(path: &Path, multimodal: Option<&Value>, layers: Option<&Value>) -> Result<()> {
    if multimodal.is_some() {
        return Err(unsupported(path, "CoCa (model_cfg.multimodal_cfg)".into()));
    }
    match layers {
        Some(Value::Array(_)) => {
            Err(unsupported(path, "a CLIP with a ResNet tower (model_cfg.vision_cfg.layers is a list)".into()))
        }
        _ => Ok(()),
    }
}

/// The architecture, other than CLIP's, that has such tensors.
pub(crate) fn by_tensors<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    find(TENSORS, names)
}

/// Names what has such tensors, where they are not two towers.
pub(crate) fn fragment<'a>(names: impl Iterator<Item = &'a str> + Clone) -> &'static str {
    find(FRAGMENTS, names).unwrap_or("tensors of no model that is known here")
}

fn find<'a>(table: &[(&str, &'static str)], names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    table.iter().find(|(part, _)| names.clone().any(|name| name.contains(part))).map(|(_, name)| *name)
}

pub(crate) fn unsupported(path: &Path, found: String) -> Error {
    Error::UnsupportedModel { path: path.to_owned(), found, expected: SUPPORTED.into() }
}

/// Describes a tensor that the model as configured does not use.
pub(crate) fn describe_tensor(name: &str) -> &'static str {
    const PARTS: &[(&str, &str)] = &[
        ("lora_", "a LoRA adapter's tensor; merge it into the weights first (peft: merge_and_unload)"),
        (".ls_1.", "layer scale, which the config does not ask for (ls_init_value)"),
        (".ls_2.", "layer scale, which the config does not ask for (ls_init_value)"),
        ("ln_pre", "a norm that the config leaves out (no_ln_pre)"),
        ("positional_embedding", "a second position table, as Long-CLIP has"),
        ("position_embedding", "a second position table, as Long-CLIP has"),
        ("cls_emb", "a class token of the text, as CoCa has"),
        ("attn_pool", "an attentional pooler"),
        ("quant", "a quantised weight"),
        ("qweight", "a quantised weight"),
        ("qzeros", "a quantised weight"),
        ("scales", "a quantised weight"),
        ("SCB", "a quantised weight"),
        ("_norm", "a norm that CLIP's blocks do not have"),
        ("ln_", "a norm that CLIP's blocks do not have"),
    ];
    find(PARTS, std::iter::once(name)).unwrap_or("a tensor that no part of CLIP's towers is")
}
