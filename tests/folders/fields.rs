//! Every field that the four configuration files can have (`fields.json`, made by `fields.py`), away from its default: the
//! embedding of the f64 forward pass, the embedding as it was where the field cannot matter, or a refusal that names it.

use super::folder::{Folder, assert_gives, assert_refused};
use super::forward::{Clip, Pooling, gelu, gelu_tanh, quick_gelu};
use Expect::{Contradicts, Gives, Irrelevant, Refused, Same};
use crossalign::Error;
use serde_json::{Value, json};
use std::collections::BTreeMap;

enum Expect {
    /// The embedding of the model changed so.
    Gives(fn(&mut Clip)),
    /// Another spelling of what the golden model is.
    Same,
    /// Any value at all changes nothing.
    Irrelevant,
    /// A refusal that names the field.
    Refused,
    /// A dimension that the tensors do not have: a refusal that names a tensor or what there is too much or little of.
    Contradicts,
}

/// A field by its file and place, a value, and what is expected of it.
type Row = (&'static str, &'static str, Value, Expect);

const HF: &str = "config.json";
const VISION: &str = "config.json vision_config";
const TEXT: &str = "config.json text_config";
const PROCESSOR: &str = "preprocessor_config.json";
const NESTED: &str = "processor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";
const MODEL: &str = "open_clip_config.json model_cfg";
const VISION_CFG: &str = "open_clip_config.json model_cfg.vision_cfg";
const TEXT_CFG: &str = "open_clip_config.json model_cfg.text_cfg";
const PREPROCESS: &str = "open_clip_config.json preprocess_cfg";

fn half(clip: &mut Clip) {
    (clip.mean, clip.std) = ([127.5; 3], [127.5; 3]);
}

fn squash(clip: &mut Clip) {
    clip.squash = true;
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    transformers(&mut rows);
    processor(&mut rows);
    open_clip(&mut rows);
    rows
}

fn transformers(rows: &mut Vec<Row>) {
    let plain = [
        "_name_or_path",
        "architectures",
        "bad_words_ids",
        "begin_suppress_tokens",
        "bos_token_id",
        "chunk_size_feed_forward",
        "cross_attention_hidden_size",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "dtype",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "id2label",
        "initializer_factor",
        "label2id",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "pad_token_id",
        "prefix",
        "problem_type",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tie_word_embeddings",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
    ];
    for place in [HF, VISION, TEXT] {
        rows.extend(plain.map(|field| (place, field, Value::Null, Irrelevant)));
        for switch in ["add_cross_attention", "is_decoder", "is_encoder_decoder"] {
            rows.push((place, switch, json!(true), Refused));
            rows.push((place, switch, json!(false), Same));
        }
        rows.push((place, "pruned_heads", json!({"0": [1]}), Refused));
        rows.push((place, "pruned_heads", json!({}), Same));
        rows.push((place, "auto_map", json!({"AutoModel": "modeling.Model"}), Refused));
        rows.push((place, "quantization_config", json!({"quant_method": "gptq"}), Refused));
        rows.push((place, "use_rope", json!(true), Refused));
        rows.push((place, "use_rope", json!(false), Refused)); // unknown: its default may be true
        rows.push((place, "model_type", json!("siglip"), Refused));
    }
    rows.push((HF, "model_type", json!("clip"), Same));
    rows.push((VISION, "model_type", json!("clip_vision_model"), Same));
    rows.push((TEXT, "model_type", json!("clip_text_model"), Same));
    for place in [VISION, TEXT] {
        let inert = ["attention_dropout", "dropout", "initializer_range", "projection_dim"];
        rows.extend(inert.map(|field| (place, field, Value::Null, Irrelevant)));
        rows.push((place, "hidden_size", json!(64), Contradicts));
        rows.push((place, "hidden_size", json!("64"), Refused));
        rows.push((place, "intermediate_size", json!(100), Contradicts));
        rows.push((place, "num_hidden_layers", json!(1), Contradicts));
        rows.push((place, "num_hidden_layers", json!(3), Contradicts));
        rows.push((place, "num_attention_heads", json!(5), Contradicts));
        rows.push((place, "num_attention_heads", json!(0), Refused));
        rows.push((place, "hidden_act", json!("relu"), Refused));
        rows.push((place, "hidden_act", json!("gelu_10"), Refused));
        rows.push((place, "layer_norm_eps", json!(-1.0), Refused));
        rows.push((place, "layer_norm_eps", json!(0), Refused));
        rows.push((place, "layer_norm_eps", json!(1e6), Refused));
    }
    for (name, vision, text) in GELUS {
        rows.push((VISION, "hidden_act", json!(name), Gives(vision)));
        rows.push((TEXT, "hidden_act", json!(name), Gives(text)));
    }
    rows.push((HF, "logit_scale_init_value", Value::Null, Irrelevant));
    rows.push((HF, "projection_dim", json!(23), Contradicts));
    rows.push((HF, "eos_token_id", json!(813), Refused));
    for section in ["text_config", "vision_config", "text_config_dict", "vision_config_dict"] {
        rows.push((HF, section, json!([1]), Refused));
    }
    rows.push((VISION, "num_attention_heads", json!(4), Gives(|clip| clip.vision.heads = 4)));
    rows.push((VISION, "layer_norm_eps", json!(0.1), Gives(|clip| clip.vision.eps = 0.1)));
    rows.push((VISION, "num_channels", json!(1), Refused));
    rows.push((VISION, "image_size", json!(32), Contradicts));
    rows.push((VISION, "image_size", json!([24, 24]), Same));
    rows.push((VISION, "image_size", json!([24, 32]), Refused));
    rows.push((VISION, "patch_size", json!(12), Contradicts));
    rows.push((VISION, "patch_size", json!([8, 4]), Refused));
    rows.push((VISION, "eos_token_id", json!(2), Refused));
    rows.push((TEXT, "num_attention_heads", json!(1), Gives(|clip| clip.text.heads = 1)));
    rows.push((TEXT, "layer_norm_eps", json!(0.1), Gives(|clip| clip.text.eps = 0.1)));
    rows.push((TEXT, "vocab_size", json!(815), Contradicts));
    rows.push((TEXT, "max_position_embeddings", json!(40), Contradicts));
    rows.push((TEXT, "eos_token_id", json!(2), Same)); // by the highest id
    rows.push((TEXT, "eos_token_id", json!(7), Refused));
    rows.push((TEXT, "eos_token_id", json!((1u64 << 32) + 813), Refused));
    rows.push((TEXT, "eos_token_id", json!([813]), Refused));
}

type Change = fn(&mut Clip);

const GELUS: [(&str, Change, Change); 4] = [
    ("gelu", |clip| clip.vision.activation = gelu, |clip| clip.text.activation = gelu),
    ("gelu_new", |clip| clip.vision.activation = gelu_tanh, |clip| clip.text.activation = gelu_tanh),
    ("gelu_pytorch_tanh", |clip| clip.vision.activation = gelu_tanh, |clip| clip.text.activation = gelu_tanh),
    ("quick_gelu", |clip| clip.vision.activation = quick_gelu, |clip| clip.text.activation = quick_gelu),
];

fn processor(rows: &mut Vec<Row>) {
    let inert = [
        "_processor_class",
        "data_format",
        "device",
        "disable_grouping",
        "image_seq_length",
        "input_data_format",
        "pad_size",
        "processor_class",
        "return_tensors",
        "size_divisor",
    ];
    rows.extend(inert.map(|field| (PROCESSOR, field, Value::Null, Irrelevant)));
    let square = json!({"height": 24, "width": 24});
    rows.extend([
        (PROCESSOR, "do_resize", json!(false), Refused),
        (PROCESSOR, "do_convert_rgb", json!(false), Refused),
        (PROCESSOR, "do_pad", json!(true), Refused),
        (PROCESSOR, "do_center_crop", json!(false), Refused),
        (PROCESSOR, "do_normalize", json!(false), Gives(|clip| (clip.mean, clip.std) = ([0.0; 3], [255.0; 3]))),
        (PROCESSOR, "do_normalize", json!("no"), Refused),
        (
            PROCESSOR,
            "do_rescale",
            json!(false),
            Gives(|clip| {
                clip.mean = clip.mean.map(|x| x / 255.0);
                clip.std = clip.std.map(|x| x / 255.0);
            }),
        ),
        (
            PROCESSOR,
            "rescale_factor",
            json!(1.0 / 127.5),
            Gives(|clip| {
                clip.mean = clip.mean.map(|x| x / 2.0);
                clip.std = clip.std.map(|x| x / 2.0);
            }),
        ),
        (PROCESSOR, "rescale_factor", json!(0), Refused),
        (PROCESSOR, "image_mean", json!([0.1, 0.2, 0.3]), Gives(|clip| clip.mean = [25.5, 51.0, 76.5])),
        (PROCESSOR, "image_mean", json!(0.5), Gives(|clip| clip.mean = [127.5; 3])),
        (PROCESSOR, "image_mean", json!([0.1, 0.2]), Refused),
        (PROCESSOR, "image_std", json!([0.1, 0.2, 0.3]), Gives(|clip| clip.std = [25.5, 51.0, 76.5])),
        (PROCESSOR, "image_std", json!([0.1, 0.2, 0.0]), Refused),
        (PROCESSOR, "resample", json!(2), Refused),
        (PROCESSOR, "resample", json!(1), Refused),
        (PROCESSOR, "image_processor_type", json!("SiglipImageProcessor"), Refused),
        (PROCESSOR, "image_processor_type", json!("CLIPImageProcessorFast"), Same),
        (PROCESSOR, "feature_extractor_type", json!("ViTFeatureExtractor"), Refused),
        (PROCESSOR, "feature_extractor_type", json!("CLIPFeatureExtractor"), Same),
        (PROCESSOR, "auto_map", json!({"AutoImageProcessor": "mine.Mine"}), Refused),
        (PROCESSOR, "size", json!(24), Same),
        (PROCESSOR, "size", json!({"shortest_edge": 24, "longest_edge": null}), Same),
        (PROCESSOR, "size", square.clone(), Gives(squash)),
        (PROCESSOR, "size", json!([24, 24]), Gives(squash)),
        (PROCESSOR, "size", json!({"shortest_edge": 32}), Refused),
        (PROCESSOR, "size", json!(32), Refused),
        (PROCESSOR, "size", json!({"longest_edge": 24}), Refused),
        (PROCESSOR, "size", json!({"shortest_edge": 24, "longest_edge": 48}), Refused),
        (PROCESSOR, "size", json!({"height": 24, "width": 32}), Refused),
        (PROCESSOR, "size", json!({"max_height": 24, "max_width": 24}), Refused),
        (PROCESSOR, "use_square_size", json!(true), Gives(squash)),
        (PROCESSOR, "default_to_square", json!(false), Same),
        (PROCESSOR, "default_to_square", json!(true), Same), // of a size that is one number
        (PROCESSOR, "crop_size", json!(24), Same),
        (PROCESSOR, "crop_size", square, Same),
        (PROCESSOR, "crop_size", json!(16), Refused),
        (PROCESSOR, "crop_size", json!({"height": 24, "width": 16}), Refused),
        (PROCESSOR, "crop_size", json!({"shortest_edge": 24}), Refused),
        (PROCESSOR, "sharpen", json!(1), Refused),
        (NESTED, "processor_class", Value::Null, Irrelevant),
        (NESTED, "auto_map", json!({"AutoProcessor": "mine.Mine"}), Refused),
        (NESTED, "image_processor", json!({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}), Gives(half)),
        (
            NESTED,
            "image_processor",
            json!({"size": {"height": 24, "width": 24}, "do_center_crop": false}),
            Gives(squash),
        ),
        (NESTED, "image_processor", json!("CLIPImageProcessor"), Refused),
        (NESTED, "video_processor", json!({}), Refused),
    ]);
}

fn open_clip(rows: &mut Vec<Row>) {
    rows.extend(
        ["init_logit_bias", "init_logit_scale", "nonscalar_logit_scale", "cast_dtype", "custom_text", "output_dict"]
            .map(|field| (MODEL, field, Value::Null, Irrelevant)),
    );
    rows.extend([
        (OPEN_CLIP, "model_cfg", json!(1), Refused),
        (OPEN_CLIP, "preprocess_cfg", json!(1), Refused),
        (OPEN_CLIP, "surprise", json!(1), Refused),
        (MODEL, "vision_cfg", json!("ViT-B-32"), Refused),
        (MODEL, "text_cfg", json!([]), Refused),
        (MODEL, "multimodal_cfg", json!({"layers": 12}), Refused),
        (MODEL, "embed_dim", json!(41), Contradicts),
        (
            MODEL,
            "quick_gelu",
            json!(true),
            Gives(|clip| {
                clip.vision.activation = quick_gelu;
                clip.text.activation = quick_gelu;
            }),
        ),
        (MODEL, "quick_gelu", json!("yes"), Refused),
        (MODEL, "surprise", json!(1), Refused),
        (VISION_CFG, "heads", json!(2), Refused), // heads are told by head_width
        (VISION_CFG, "head_width", json!(8), Gives(|clip| clip.vision.heads = 8)),
        (VISION_CFG, "image_size", json!(24), Contradicts),
        (VISION_CFG, "image_size", json!([16, 16]), Same),
        (VISION_CFG, "image_size", json!([16, 24]), Refused),
        (VISION_CFG, "patch_size", json!(4), Contradicts),
        (VISION_CFG, "patch_size", json!([8, 8]), Same),
        (VISION_CFG, "layers", json!([2, 2, 2, 2]), Refused),
        (VISION_CFG, "no_ln_pre", json!(true), Contradicts), // with the norm's tensors there
        (VISION_CFG, "pool_type", json!("avg"), Gives(|clip| clip.pooling = Pooling::NormThenAverage)),
        (VISION_CFG, "pool_type", json!("none"), Refused),
        (VISION_CFG, "final_ln_after_pool", json!(true), Same),
        (VISION_CFG, "attentional_pool", json!(true), Refused),
        (VISION_CFG, "attentional_pool", json!("parallel"), Refused),
        (VISION_CFG, "global_average_pool", json!(true), Refused),
        (VISION_CFG, "input_patchnorm", json!(true), Refused),
        (VISION_CFG, "pos_embed_type", json!("sin_cos_2d"), Same),
        (VISION_CFG, "pos_embed_type", json!("rope"), Refused),
        (VISION_CFG, "timm_model_name", json!("vit_base_patch16_224"), Refused),
        (TEXT_CFG, "heads", json!(4), Gives(|clip| clip.text.heads = 4)),
        (TEXT_CFG, "context_length", json!(77), Contradicts),
        (TEXT_CFG, "vocab_size", json!(49408), Contradicts),
        (TEXT_CFG, "hf_model_name", json!("roberta-base"), Refused),
        (TEXT_CFG, "hf_tokenizer_name", json!("bert-base-uncased"), Refused),
        (TEXT_CFG, "tokenizer_kwargs", json!({"clean": "canonicalize"}), Refused),
        (TEXT_CFG, "tokenizer_kwargs", json!({}), Same),
        (TEXT_CFG, "tokenizer_mode", json!("siglip"), Refused),
        (TEXT_CFG, "embed_cls", json!(true), Refused),
        (TEXT_CFG, "no_causal_mask", json!(true), Gives(|clip| clip.padded = Some(40))),
        (TEXT_CFG, "final_ln_after_pool", json!(true), Same),
        (TEXT_CFG, "pool_type", json!("last"), Refused),
        (TEXT_CFG, "pool_type", json!("first"), Refused),
        (TEXT_CFG, "eos_id", json!(7), Same),       // read with the pooling eos only
        (TEXT_CFG, "proj_bias", json!(true), Same), // the tensors have none
        (TEXT_CFG, "proj_type", json!("none"), Refused),
        (PREPROCESS, "mean", json!([0.1, 0.2, 0.3]), Gives(|clip| clip.mean = [25.5, 51.0, 76.5])),
        (PREPROCESS, "std", json!([0.1, 0.2, 0.3]), Gives(|clip| clip.std = [25.5, 51.0, 76.5])),
        (PREPROCESS, "resize_mode", json!("squash"), Gives(squash)),
        (PREPROCESS, "resize_mode", json!("longest"), Refused),
        (PREPROCESS, "interpolation", json!("bilinear"), Refused),
        (PREPROCESS, "interpolation", json!("random"), Refused),
        (PREPROCESS, "mode", json!("L"), Refused),
        (PREPROCESS, "size", json!([16, 16]), Same),
        (PREPROCESS, "size", json!(24), Refused),
        (PREPROCESS, "size", json!([16, 24]), Refused),
        (PREPROCESS, "fill_color", Value::Null, Irrelevant),
        (PREPROCESS, "surprise", json!(1), Refused),
    ]);
    for place in [VISION_CFG, TEXT_CFG] {
        for switch in [
            "qk_norm",
            "scaled_cosine_attn",
            "scaled_cosine",
            "scale_heads",
            "scale_attn_inner",
            "scale_attn",
            "scale_fc",
        ] {
            rows.push((place, switch, json!(true), Refused));
            rows.push((place, switch, json!(false), Same));
        }
        rows.extend([
            (place, "width", json!(80), Contradicts),
            (place, "layers", json!(3), Contradicts),
            (place, "mlp_ratio", json!(3.5), Contradicts),
            (place, "ls_init_value", json!(1e-5), Contradicts), // without its tensors
            (place, "output_tokens", json!(true), Refused),
            (place, "block_type", json!("custom"), Refused),
            (place, "act_kwargs", json!({"approximate": "erf"}), Refused),
            (place, "act_kwargs", json!({"inplace": true}), Refused),
            (place, "norm_kwargs", json!({"elementwise_affine": false}), Refused),
            (place, "norm_kwargs", json!({}), Same),
            (place, "surprise", json!(1), Refused),
        ]);
    }
    rows.extend([
        (VISION_CFG, "act_kwargs", json!({"approximate": "tanh"}), Gives(|clip| clip.vision.activation = gelu_tanh)),
        (TEXT_CFG, "act_kwargs", json!({"approximate": "tanh"}), Gives(|clip| clip.text.activation = gelu_tanh)),
        (VISION_CFG, "norm_kwargs", json!({"eps": 0.1}), Gives(|clip| clip.vision.eps = 0.1)),
        (TEXT_CFG, "norm_kwargs", json!({"eps": 0.1}), Gives(|clip| clip.text.eps = 0.1)),
    ]);
    let vision = [
        "attn_pooler_heads",
        "attn_pooler_queries",
        "patch_dropout",
        "timm_drop",
        "timm_drop_path",
        "timm_model_pretrained",
        "timm_pool",
        "timm_proj",
        "timm_proj_bias",
    ];
    rows.extend(vision.map(|field| (VISION_CFG, field, Value::Null, Irrelevant)));
    let text = ["hf_model_pretrained", "hf_pooler_type", "hf_proj_type", "pad_id"];
    rows.extend(text.map(|field| (TEXT_CFG, field, Value::Null, Irrelevant)));
}

/// A folder with one field set.
fn with_field(place: &str, field: &str, value: &Value) -> (Folder, &'static str) {
    let golden = if place.starts_with(OPEN_CLIP) { "open_clip" } else { "transformers" };
    let folder = Folder::golden(golden);
    let (file, section) = place.split_once(' ').unwrap_or((place, ""));
    let field = if section.is_empty() { field.to_string() } else { format!("{section}.{field}") };
    folder.set(file, &field, value.clone());
    (folder, golden)
}

#[test]
fn every_field_is_done_or_refused() {
    for (place, field, value, expect) in rows() {
        let what = format!("{place}: {field} = {value}");
        let check = |value: &Value, change: fn(&mut Clip)| {
            let (folder, _) = with_field(place, field, value);
            let mut clip = folder.clip();
            change(&mut clip);
            let model = folder.load().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_gives(&model, &clip, &what);
        };
        match expect {
            Gives(change) => check(&value, change),
            Same => check(&value, |_| ()),
            Irrelevant => {
                for value in [json!(true), json!(7), json!("other"), json!([0.5]), json!({"0": "LABEL_0"})] {
                    check(&value, |_| ());
                }
            }
            Refused => {
                let (folder, _) = with_field(place, field, &value);
                let error = assert_refused(folder.load(), &[field.split('.').next_back().unwrap()]);
                let matched = matches!(
                    error,
                    Error::UnsupportedField { .. } | Error::UnsupportedModel { .. } | Error::File { .. }
                );
                assert!(matched, "{what}: {error:?}");
            }
            Contradicts => {
                let (folder, _) = with_field(place, field, &value);
                let message = folder.load().err().unwrap_or_else(|| panic!("{what}: accepted")).to_string();
                assert!(
                    ["tensor", "blocks", "tower", "image size"].iter().any(|part| message.contains(part)),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn the_table_has_every_field() {
    let listed: BTreeMap<String, Vec<String>> = serde_json::from_str(include_str!("fields.json")).unwrap();
    let rows = rows();
    for (place, fields) in &listed {
        for field in fields {
            let there = rows.iter().any(|(p, f, ..)| p == place && f == field);
            assert!(there, "{place}: {field} has no row");
        }
    }
    assert!(listed.values().map(Vec::len).sum::<usize>() > 300);
}

/// Fields that mean something only together.
#[test]
fn fields_together() {
    let transformers = |changes: &[(&str, &str, Value)], change: fn(&mut Clip)| {
        let folder = Folder::golden("transformers");
        changes.iter().for_each(|(file, field, value)| folder.set(file, field, value.clone()));
        let mut clip = folder.clip();
        change(&mut clip);
        assert_gives(&folder.load().unwrap(), &clip, &format!("{changes:?}"));
    };
    // A size of one number is a square where the processor says so.
    transformers(&[(PROCESSOR, "size", json!(24)), (PROCESSOR, "default_to_square", json!(true))], squash);
    // Without a crop, both sides must be given.
    let square = json!({"height": 24, "width": 24});
    transformers(&[(PROCESSOR, "size", square), (PROCESSOR, "do_center_crop", json!(false))], squash);
    // Neither rescaled nor normalised.
    let raw = [(PROCESSOR, "do_rescale", json!(false)), (PROCESSOR, "do_normalize", json!(false))];
    transformers(&raw, |clip| (clip.mean, clip.std) = ([0.0; 3], [1.0; 3]));
    // The nested processor is read in place of the older file, whatever that says.
    transformers(&[(NESTED, "image_processor.image_mean", json!(0.5)), (PROCESSOR, "resample", json!(0))], |clip| {
        clip.mean = [127.5; 3];
    });
    // transformers reads the older objects in place of the newer ones, and its defaults for what they lack.
    let folder = Folder::golden("transformers");
    let mut older = folder.json(HF)["vision_config"].clone();
    older.as_object_mut().unwrap().remove("num_attention_heads"); // 12
    folder.set(HF, "vision_config_dict", older);
    let mut clip = folder.clip();
    clip.vision.heads = 12;
    assert_gives(&folder.load().unwrap(), &clip, "vision_config_dict");

    // open_clip: its own end token, average pooling with the norm last.
    let folder = Folder::golden("open_clip");
    folder.set(OPEN_CLIP, "model_cfg.text_cfg.pool_type", json!("eos"));
    assert_refused(folder.load(), &["end token 813", "2, the config's eos_token_id or eos_id"]);
    folder.set(OPEN_CLIP, "model_cfg.text_cfg.eos_id", json!(813));
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.pool_type", json!("avg"));
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.final_ln_after_pool", json!(true));
    let clip = Clip { pooling: Pooling::AverageThenNorm, ..folder.clip() };
    assert_gives(&folder.load().unwrap(), &clip, "eos, average then norm");
    // quick_gelu takes no arguments.
    folder.set(OPEN_CLIP, "model_cfg.quick_gelu", json!(true));
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.act_kwargs", json!({"approximate": "tanh"}));
    assert_refused(folder.load(), &["act_kwargs"]);
}

/// Models of other kinds are called by their names.
#[test]
fn other_kinds_are_named() {
    for (golden, file, field, value, name) in [
        ("transformers", HF, "model_type", json!("siglip"), "SigLIP (model_type"),
        ("transformers", HF, "model_type", json!("xclip"), "X-CLIP"),
        ("open_clip", OPEN_CLIP, "model_cfg.vision_cfg.layers", json!([3, 4, 6, 3]), "a ResNet tower"),
        ("open_clip", OPEN_CLIP, "model_cfg.multimodal_cfg", json!({}), "CoCa"),
    ] {
        let folder = Folder::golden(golden);
        folder.set(file, field, value);
        assert_refused(folder.load(), &[file, name]);
    }
}

/// Two files that describe the same views must agree.
#[test]
fn processors_of_both_libraries() {
    let folder = Folder::golden("open_clip");
    folder.set(PROCESSOR, "image_mean", json!([0.5, 0.45, 0.55]));
    folder.set(PROCESSOR, "image_std", json!([0.5, 0.4, 0.3]));
    assert_gives(&folder.load().unwrap(), &folder.clip(), "the same in both");
    folder.set(PROCESSOR, "image_std", json!([0.5, 0.4, 0.2]));
    assert_refused(folder.load(), &["open_clip_config.json", "preprocess_cfg"]);
    folder.set(OPEN_CLIP, "preprocess_cfg", Value::Null);
    let mut clip = folder.clip();
    clip.std = [127.5, 102.0, 51.0];
    assert_gives(&folder.load().unwrap(), &clip, "transformers' alone");
}

/// The files themselves.
#[test]
fn damaged_configs() {
    for (content, part) in
        [("", "config.json"), ("[]", "a list"), ("{", "config"), ("{\"a\": NaN}", "config"), ("\u{feff}{}", "224")]
    {
        let folder = Folder::golden("transformers");
        folder.write(HF, content);
        assert_refused(folder.load(), &[part]);
    }
    let folder = Folder::golden("transformers");
    let config = folder.json(HF).to_string();
    folder.write(HF, format!("\u{feff}{config}"));
    assert_gives(&folder.load().unwrap(), &folder.clip(), "byte order mark");
    folder.remove(HF);
    assert_refused(folder.load(), &["config.json", "no such file"]);
}
