//! Every tensor of a file is read, is known to be of no use, or the file is refused by its name.

use super::folder::{Folder, assert_gives, assert_refused, golden, load};
use super::forward::{Clip, Tensors};
use crossalign::Error;
use crossalign::engine::Towers;
use crossalign::model::Activation;
use serde_json::json;

const GOLDEN: [&str; 3] = ["transformers", "open_clip", "openai"];

fn activation(name: &str) -> Option<Activation> {
    (name == "openai").then_some(Activation::QuickGelu)
}

/// Adds tensors of a row of ones to a golden model and loads it.
fn with_tensors(name: &str, names: &[&str]) -> Result<crossalign::Model, Error> {
    let folder = Folder::golden(name);
    folder.tensors(|tensors| add(tensors, names));
    folder.load_with(Towers::Both, activation(name))
}

fn add(tensors: &mut Tensors, names: &[&str]) {
    tensors.extend(names.iter().map(|name| (name.to_string(), (vec![2], vec![1.0, 1.0]))));
}

#[test]
fn tensors_without_a_use_are_refused() {
    let strangers = [
        ("positional_embedding_res", "position table"),
        ("visual.positional_embedding_2", "position table"),
        ("transformer.resblocks.0.attn.q_proj.lora_A.weight", "LoRA"),
        ("visual.transformer.resblocks.1.mlp.c_fc.lora_B", "LoRA"),
        ("visual.transformer.resblocks.0.ls_1.gamma", "layer scale"),
        ("transformer.resblocks.1.ls_2.gamma", "layer scale"),
        ("visual.transformer.resblocks.0.attn.ln_q.weight", "norm"),
        ("visual.transformer.resblocks.0.mlp.c_fc.qweight", "quantised"),
        ("visual.attn_pool.query", "attentional pooler"),
        ("cls_emb", "class token"),
        ("visual.mask_token", "no part"),
        ("classifier.weight", "no part"),
    ];
    for name in GOLDEN {
        for (stranger, what) in strangers {
            let error = assert_refused(with_tensors(name, &[stranger]), &[what]);
            match error {
                Error::UnusedTensor { tensor, .. } => assert_eq!(tensor, stranger),
                Error::UnsupportedModel { .. } => assert!(stranger.contains("attn_pool"), "{error}"),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn buffers_are_known() {
    let buffers = [
        "logit_scale",
        "logit_bias",
        "attn_mask",
        "input_resolution",
        "context_length",
        "vocab_size",
        "text_model.embeddings.position_ids",
        "vision_model.embeddings.position_ids",
        "text.attn_mask",
    ];
    for name in GOLDEN {
        assert!(with_tensors(name, &buffers).is_ok(), "{name}");
    }
}

#[test]
fn a_tower_that_is_not_asked_for_may_have_any_tensors() {
    let towers = |name, towers, tensor| {
        let folder = Folder::golden(name);
        folder.tensors(|tensors| add(tensors, &[tensor]));
        folder.load_with(towers, activation(name)).is_ok()
    };
    for (name, vision, text) in [
        ("transformers", "vision_model.extra.weight", "text_model.extra.weight"),
        ("open_clip", "visual.extra", "transformer.resblocks.0.extra"),
        ("openai", "visual.extra", "ln_final.extra"),
    ] {
        assert!(towers(name, Towers::Vision, text) && towers(name, Towers::Text, vision), "{name}");
        assert!(!towers(name, Towers::Vision, vision) && !towers(name, Towers::Text, text), "{name}");
        assert!(!towers(name, Towers::Vision, "positional_embedding_res"), "{name}");
    }
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    for name in GOLDEN {
        let names: Vec<String> = Folder::golden(name).clip().tensors.into_keys().collect();
        for tensor in names.iter().filter(|tensor| *tensor != "logit_scale") {
            let folder = Folder::golden(name);
            folder.tensors(|tensors| drop(tensors.remove(tensor)));
            let Err(error) = folder.load_with(Towers::Both, activation(name)) else {
                // A linear layer without a bias is one with a bias of zero.
                assert!(tensor.ends_with(".bias"), "{name} without {tensor}");
                continue;
            };
            let known = matches!(error, Error::MissingTensor { .. } | Error::UnsupportedModel { .. })
                || ["blocks", "0 layers"].iter().any(|part| error.to_string().contains(part));
            assert!(known, "{name} without {tensor}: {error}");

            let folder = Folder::golden(name);
            folder.tensors(|tensors| {
                let (shape, values) = tensors.get_mut(tensor).unwrap();
                *shape.last_mut().unwrap() += 1;
                values.resize(shape.iter().product(), 0.0);
            });
            let error = folder.load_with(Towers::Both, activation(name)).err();
            let error = error.unwrap_or_else(|| panic!("{name}: accepted {tensor} longer")).to_string();
            assert!(error.contains("expected"), "{error}");

            // As many elements, transposed.
            let folder = Folder::golden(name);
            let mut is_same = false;
            folder.tensors(|tensors| {
                let (shape, _) = tensors.get_mut(tensor).unwrap();
                let before = shape.clone();
                shape.reverse();
                is_same = *shape == before;
            });
            let result = folder.load_with(Towers::Both, activation(name));
            assert_eq!(result.is_ok(), is_same, "{name}: {tensor} transposed");
        }
    }
}

/// What training frameworks put before every name.
#[test]
fn prefixes_of_all_names_are_taken_off() {
    for prefix in ["module.", "model.", "clip.", "_orig_mod.", "module.model.", "_orig_mod.module."] {
        for name in GOLDEN {
            let folder = Folder::golden(name);
            let clip = folder.clip();
            folder.tensors(|tensors| {
                *tensors =
                    std::mem::take(tensors).into_iter().map(|(name, t)| (format!("{prefix}{name}"), t)).collect();
            });
            let model = folder.load_with(Towers::Both, activation(name)).unwrap_or_else(|e| panic!("{prefix}: {e}"));
            if name != "openai" {
                assert_gives(&model, &clip, prefix);
            }
        }
    }
    // One name without it: nothing is taken off.
    let folder = Folder::golden("transformers");
    folder.tensors(|tensors| {
        let scale = tensors.remove("logit_scale").unwrap();
        *tensors = std::mem::take(tensors).into_iter().map(|(name, t)| (format!("module.{name}"), t)).collect();
        tensors.insert("logit_scale".into(), scale);
    });
    assert_refused(folder.load(), &["model: found"]);
}

#[test]
fn layer_scale_is_multiplied_in() {
    let folder = Folder::golden("open_clip");
    folder.tensors(|tensors| {
        for (tower, width) in [("visual.", 64), ("", 48)] {
            for (block, i) in [(0, 1), (0, 2), (1, 1), (1, 2)] {
                let gamma = (0..width).map(|j| 0.1 + 0.02 * f64::from(j + block + i)).map(|x| f64::from(x as f32));
                let name = format!("{tower}transformer.resblocks.{block}.ls_{i}.gamma");
                tensors.insert(name, (vec![width as usize], gamma.collect()));
            }
        }
    });
    assert_refused(folder.load(), &["ls_1.gamma", "ls_init_value"]);
    folder.set("open_clip_config.json", "model_cfg.vision_cfg.ls_init_value", json!(0.1));
    assert_refused(folder.load(), &["transformer.resblocks.0.ls_1.gamma"]);
    folder.set("open_clip_config.json", "model_cfg.text_cfg.ls_init_value", json!(1e-5));
    let mut clip = folder.clip();
    (clip.vision.layer_scale, clip.text.layer_scale) = (true, true);
    assert_gives(&folder.load().unwrap(), &clip, "layer scale");
}

#[test]
fn a_tower_without_the_first_norm() {
    let folder = Folder::golden("open_clip");
    folder.set("open_clip_config.json", "model_cfg.vision_cfg.no_ln_pre", json!(true));
    assert_refused(folder.load(), &["visual.ln_pre", "no_ln_pre"]);
    folder.tensors(|tensors| tensors.retain(|name, _| !name.starts_with("visual.ln_pre")));
    let clip = Clip { pre_norm: false, ..folder.clip() };
    assert_gives(&folder.load().unwrap(), &clip, "no_ln_pre");
}

/// A longer position table, as Long-CLIP converted to transformers has: the config and the tensor agree.
#[test]
fn a_longer_context() {
    let folder = Folder::golden("transformers");
    folder.set("config.json", "text_config.max_position_embeddings", json!(120));
    folder.tensors(|tensors| {
        let (shape, values) = tensors.get_mut("text_model.embeddings.position_embedding.weight").unwrap();
        values.extend((0..(120 - shape[0]) * shape[1]).map(|i| f64::from((i % 13) as f32 * 0.01)));
        shape[0] = 120;
    });
    let model = folder.load().unwrap();
    assert_gives(&model, &folder.clip(), "120 tokens");
    let long = "cat dog ".repeat(50);
    let ids = model.tokenizer().unwrap().encode(&long).unwrap().ids;
    assert!(ids.len() > 77 && ids.len() <= 120);
    let found = model.encode_texts(&[&long], true).unwrap().embeddings;
    let expected = folder.clip().text(&ids);
    assert!(found.data.iter().zip(&expected).all(|(&a, b)| (f64::from(a) - b).abs() < 3e-6));
}

/// open_clip's class of custom text towers: `text.` before their names, a projection that is a layer with a bias.
#[test]
fn custom_text_towers() {
    let folder = Folder::golden("open_clip");
    folder.tensors(|tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, tensor)| match name.as_str() {
                "text_projection" => {
                    let (shape, values) = tensor;
                    let at = |i: usize| values[(i % shape[0]) * shape[1] + i / shape[0]];
                    let layer = (0..values.len()).map(at).collect();
                    ("text.text_projection.weight".to_string(), (vec![shape[1], shape[0]], layer))
                }
                name if name.starts_with("visual.") || name == "logit_scale" => (name.to_string(), tensor),
                name => (format!("text.{name}"), tensor),
            })
            .collect();
        let bias = (0..40).map(|i| f64::from(0.01 * i as f32)).collect();
        tensors.insert("text.text_projection.bias".into(), (vec![40], bias));
    });
    folder.set("open_clip_config.json", "model_cfg.text_cfg.proj_bias", json!(true));
    assert_gives(&folder.load().unwrap(), &folder.clip(), "custom text");
}

#[test]
fn other_architectures_are_named() {
    let towers = [
        ("SigLIP", "vision_model.head.probe"),
        ("timm", "visual.trunk.blocks.0.attn.qkv.weight"),
        ("ConvNeXt", "visual.trunk.stages.0.blocks.0.conv_dw.weight"),
        ("SigLIP", "visual.trunk.attn_pool.latent"),
        ("ResNet", "visual.layer1.0.conv1.weight"),
        ("ResNet", "visual.attnpool.positional_embedding"),
        ("EVA-CLIP", "visual.blocks.0.attn.q_proj.weight"),
        ("CoCa", "text_decoder.ln_final.weight"),
        ("Chinese-CLIP", "bert.embeddings.word_embeddings.weight"),
        ("MobileCLIP", "image_encoder.model.patch_embed.0.weight"),
        ("Hugging Face text", "text.transformer.embeddings.word_embeddings.weight"),
        ("Stable Diffusion", "model.diffusion_model.input_blocks.0.0.weight"),
    ];
    for name in GOLDEN {
        for (what, tensor) in towers {
            let error = assert_refused(with_tensors(name, &[tensor]), &[what, "expected CLIP with two ViT towers"]);
            assert!(matches!(error, Error::UnsupportedModel { .. }), "{error:?}");
        }
    }
    for (what, keep) in [
        ("vision tower alone", "vision_model"),
        ("text tower alone", "text_model"),
        ("no model that is known", "logit_scale"),
    ] {
        let folder = Folder::golden("transformers");
        folder.tensors(|tensors| tensors.retain(|name, _| name.starts_with(keep)));
        assert_refused(folder.load(), &[what]);
    }
    for model_type in ["siglip", "siglip2", "chinese_clip", "altclip", "clipseg", "clip_vision_model", "my_clip"] {
        let folder = Folder::golden("transformers");
        folder.set("config.json", "model_type", json!(model_type));
        assert_refused(folder.load(), &[model_type, "config.json"]);
    }
}

/// The golden folders themselves, against the f64 forward pass that the other tests trust.
#[test]
fn golden_models() {
    for name in ["transformers", "open_clip"] {
        assert_gives(&load(&golden(name), Towers::Both, None).unwrap(), &Folder::golden(name).clip(), name);
    }
}
