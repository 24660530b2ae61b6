//! The fingerprint of a model: whatever changes an embedding changes it, where the files lie does not.

use super::folder::{Folder, load};
use crossalign::backend::Precision;
use crossalign::engine::Towers;
use crossalign::model::{Activation, Config, TowerConfig};
use crossalign::{Model, ModelOptions};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const HF: &str = "config.json";
const PROCESSOR: &str = "preprocessor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";

/// Every field, by name. One that is added to a structure does not compile before it is here, and then fails the test
/// before there is a change of it in the table.
fn fields(config: &Config) -> BTreeMap<String, String> {
    let Config {
        vision,
        image_size,
        patch_size,
        mean,
        std,
        resize,
        pre_norm,
        pooling,
        text,
        causal,
        vocabulary,
        context,
        end_token,
        embed,
    } = config;
    let mut fields = BTreeMap::from([
        ("image_size".into(), image_size.to_string()),
        ("patch_size".into(), patch_size.to_string()),
        ("mean".into(), format!("{mean:?}")),
        ("std".into(), format!("{std:?}")),
        ("resize".into(), format!("{resize:?}")),
        ("pre_norm".into(), pre_norm.to_string()),
        ("pooling".into(), format!("{pooling:?}")),
        ("causal".into(), causal.to_string()),
        ("vocabulary".into(), vocabulary.to_string()),
        ("context".into(), context.to_string()),
        ("end_token".into(), format!("{end_token:?}")),
        ("embed".into(), embed.to_string()),
    ]);
    for (name, tower) in [("vision", vision), ("text", text)] {
        let TowerConfig { width, layers, heads, mlp, activation, eps, layer_scale } = tower;
        for (field, value) in [
            ("width", width.to_string()),
            ("layers", layers.to_string()),
            ("heads", heads.to_string()),
            ("mlp", mlp.to_string()),
            ("activation", format!("{activation:?}")),
            ("eps", eps.to_string()),
            ("layer_scale", layer_scale.to_string()),
        ] {
            fields.insert(format!("{name}.{field}"), value);
        }
    }
    fields
}

/// A golden folder, a change of it, and the fields that it changes.
type Row = (&'static str, fn(&Folder), &'static [&'static str]);

/// The tensors' shapes tell these: they are in the file's header, too.
const DIMENSIONS: &[&str] = &[
    "vision.width",
    "vision.layers",
    "vision.mlp",
    "text.width",
    "text.layers",
    "text.mlp",
    "image_size",
    "patch_size",
    "vocabulary",
    "context",
    "embed",
];

const ROWS: &[Row] = &[
    ("transformers", |f| f.set(HF, "vision_config.num_attention_heads", json!(4)), &["vision.heads"]),
    ("transformers", |f| f.set(HF, "text_config.num_attention_heads", json!(4)), &["text.heads"]),
    ("transformers", |f| f.set(HF, "vision_config.hidden_act", json!("gelu")), &["vision.activation"]),
    ("transformers", |f| f.set(HF, "text_config.hidden_act", json!("gelu")), &["text.activation"]),
    ("transformers", |f| f.set(HF, "vision_config.hidden_act", json!("gelu_new")), &["vision.activation"]),
    ("transformers", |f| f.set(HF, "vision_config.layer_norm_eps", json!(1e-6)), &["vision.eps"]),
    ("transformers", |f| f.set(HF, "text_config.layer_norm_eps", json!(1e-6)), &["text.eps"]),
    ("transformers", |f| f.set(HF, "text_config.eos_token_id", json!(2)), &["end_token"]),
    ("transformers", |f| f.set(PROCESSOR, "image_mean", json!([0.48145466, 0.4578275, 0.4])), &["mean"]),
    ("transformers", |f| f.set(PROCESSOR, "image_std", json!([0.26862954, 0.26, 0.27577711])), &["std"]),
    ("transformers", |f| f.set(PROCESSOR, "do_normalize", json!(false)), &["mean", "std"]),
    ("transformers", |f| f.set(PROCESSOR, "rescale_factor", json!(0.004)), &["mean", "std"]),
    ("transformers", |f| f.set(PROCESSOR, "use_square_size", json!(true)), &["resize"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "model_cfg.quick_gelu", json!(true)), &["text.activation", "vision.activation"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "model_cfg.vision_cfg.pool_type", json!("avg")), &["pooling"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "model_cfg.text_cfg.no_causal_mask", json!(true)), &["causal"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "preprocess_cfg.mean", json!(0.5)), &["mean"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "preprocess_cfg.std", json!(0.5)), &["std"]),
    ("open_clip", |f| f.set(OPEN_CLIP, "preprocess_cfg.resize_mode", json!("squash")), &["resize"]),
    (
        "open_clip",
        |f| {
            f.set(OPEN_CLIP, "model_cfg.vision_cfg.no_ln_pre", json!(true));
            f.tensors(|tensors| tensors.retain(|name, _| !name.starts_with("visual.ln_pre")));
        },
        &["pre_norm"],
    ),
    ("open_clip", |f| layer_scale(f, "vision_cfg", "visual.", 64), &["vision.layer_scale"]),
    ("open_clip", |f| layer_scale(f, "text_cfg", "", 48), &["text.layer_scale"]),
];

fn layer_scale(folder: &Folder, section: &str, tower: &str, width: usize) {
    folder.set(OPEN_CLIP, &format!("model_cfg.{section}.ls_init_value"), json!(0.1));
    folder.tensors(|tensors| {
        for (block, i) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
            let name = format!("{tower}transformer.resblocks.{block}.ls_{i}.gamma");
            tensors.insert(name, (vec![width], vec![0.5; width]));
        }
    });
}

fn key(folder: &Folder) -> String {
    folder.load().unwrap().fingerprint().to_string()
}

#[test]
fn any_field_changes_the_fingerprint() {
    let mut seen: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut covered: BTreeSet<String> = DIMENSIONS.iter().map(|name| name.to_string()).collect();
    for (i, (name, change, changed)) in ROWS.iter().enumerate() {
        let folder = Folder::golden(name);
        let before = folder.load().unwrap();
        change(&folder);
        let after = folder.load().unwrap();
        let (old, new) = (fields(before.config()), fields(after.config()));
        let different: Vec<&str> = old.keys().filter(|field| old[*field] != new[*field]).map(String::as_str).collect();
        assert_eq!(&different, changed, "row {i}");
        covered.extend(different.into_iter().map(String::from));
        let seen = seen.entry(name).or_default();
        seen.insert(before.fingerprint().into());
        assert!(seen.insert(after.fingerprint().into()), "row {i}: {changed:?} does not change the fingerprint");
    }
    let all: BTreeSet<String> = fields(Folder::golden("open_clip").load().unwrap().config()).into_keys().collect();
    assert_eq!(covered, all, "every field has a change");
    // An activation that is an option counts like the config's own.
    let folder = Folder::golden("transformers");
    let with = |activation| folder.load_with(Towers::Both, Some(activation)).unwrap().fingerprint().to_string();
    assert_eq!(with(Activation::QuickGelu), key(&folder));
    assert_ne!(with(Activation::Gelu), key(&folder));
}

/// Rewrites the header of the weights.
fn header(folder: &Folder, change: impl FnOnce(&mut Value)) {
    let bytes = std::fs::read(folder.weights()).unwrap();
    let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
    change(&mut header);
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(folder.weights(), [&length[..], header.as_bytes(), &bytes[end..]].concat()).unwrap();
}

#[test]
fn any_tensor_changes_the_fingerprint() {
    for name in ["transformers", "open_clip"] {
        let folder = Folder::golden(name);
        let mut seen = BTreeSet::from([key(&folder)]);
        let bytes = std::fs::read(folder.weights()).unwrap();
        let (size, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        for tensor in metadata.offset_keys() {
            let (start, end) = metadata.info(&tensor).unwrap().data_offsets;
            // The first byte, and the last of the first 512 with the lowest bit of an exponent or a mantissa.
            for at in BTreeSet::from([start, end.min(start + 512) - 1]) {
                let mut changed = bytes.clone();
                changed[8 + size + at] ^= 1;
                std::fs::write(folder.weights(), changed).unwrap();
                assert!(seen.insert(key(&folder)), "{name}: byte {} of {tensor}", at - start);
            }
        }
    }
    // The header alone: of tensors that are not read, so that the model loads.
    let changes: [fn(&mut Value); 4] = [
        |header| header["logit_scale"]["shape"] = json!([1]),
        |header| header["logit_scale"]["dtype"] = json!("BF16"),
        |header| {
            let tensor = header.as_object_mut().unwrap().remove("logit_scale").unwrap();
            header["logit_bias"] = tensor;
        },
        |header| {
            // Two biases of the same size, each under the other's name.
            let [a, b] = [0, 1].map(|i| format!("vision_model.encoder.layers.{i}.layer_norm1.bias"));
            let (first, second) = (header[&a].clone(), header[&b].clone());
            (header[&a], header[&b]) = (second, first);
        },
    ];
    let golden = key(&Folder::golden("transformers"));
    let mut seen = BTreeSet::from([golden.clone()]);
    for (i, change) in changes.into_iter().enumerate() {
        let folder = Folder::golden("transformers");
        header(&folder, change);
        assert!(seen.insert(key(&folder)), "header {i}");
    }
}

/// The same model is the same wherever it lies, however much of it is loaded, and whatever is beside it.
#[test]
fn the_place_does_not_change_the_fingerprint() {
    let folder = Folder::golden("transformers");
    let expected = key(&folder);
    for towers in [Towers::Vision, Towers::Text, Towers::Both] {
        assert_eq!(folder.load_with(towers, None).unwrap().fingerprint(), expected, "{towers:?}");
    }
    let options = |precision: Precision, device: &str| {
        ModelOptions::default()
            .with_device(device.parse().unwrap())
            .with_precision(precision)
            .with_text_cleaning(crossalign::model::TextCleaning::OpenAi)
    };
    for options in [options(Precision::Bf16, "cpu"), options(Precision::F32, "reference")] {
        assert_eq!(Model::load(folder.path(), &options).unwrap().fingerprint(), expected, "{options:?}");
    }
    let of = |path: &Path| load(path, Towers::Both, None).unwrap().fingerprint().to_string();
    assert_eq!(of(&folder.weights()), expected, "the file's own path");

    type Change = (&'static str, fn(&Folder));
    let changes: [Change; 5] = [
        ("fields that cannot matter", |f| f.set(HF, "_name_or_path", json!("another"))),
        ("what the config says already", |f| f.set(HF, "vision_config.num_channels", json!(3))),
        ("other white space", |f| f.write(HF, format!("\n{:#}\n", f.json(HF)))),
        ("another file", |f| f.write("README.md", "a model")),
        ("another name", |f| f.rename("model.safetensors", "weights.safetensors")),
    ];
    for (what, change) in changes {
        change(&folder);
        assert_eq!(key(&folder), expected, "{what}");
    }
    let moved = tempfile::tempdir().unwrap();
    let path = moved.path().join("under another name");
    std::fs::rename(folder.path(), &path).unwrap();
    assert_eq!(of(&path), expected, "moved");
    std::fs::create_dir(folder.path()).unwrap(); // for its owner to remove
}
