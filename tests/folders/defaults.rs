//! Fields that are missing have the defaults of the library whose file it is.

use super::folder::{Folder, assert_gives};
use super::forward::{Clip, gelu, quick_gelu};
use crossalign::image::Resize;
use crossalign::model::{Activation, Config, Pooling, TowerConfig};
use serde_json::{Value, json};

const HF: &str = "config.json";
const PROCESSOR: &str = "preprocessor_config.json";
const OPEN_CLIP: &str = "open_clip_config.json";

/// CLIP's normalisation (open_clip, `constants.py`; transformers, `image_utils.py`).
const OPENAI_MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const OPENAI_STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// `CLIPConfig()` of transformers (`configuration_clip.py`): ViT-B/32.
fn clip_config() -> Config {
    let tower = |width, heads, mlp| TowerConfig {
        width,
        layers: 12,
        heads,
        mlp,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        layer_scale: false,
    };
    Config {
        vision: tower(768, 12, 3072),
        image_size: 224,
        patch_size: 32,
        mean: OPENAI_MEAN,
        std: OPENAI_STD,
        resize: Resize::ShortestEdge,
        pre_norm: true,
        pooling: Pooling::ClassToken,
        text: tower(512, 8, 2048),
        causal: true,
        vocabulary: 49_408,
        context: 77,
        end_token: Some(49_407),
        embed: 512,
    }
}

/// `CLIPVisionCfg()` and `CLIPTextCfg()` of open_clip (`model.py`): ViT-B/16, with GELU.
fn open_clip_config() -> Config {
    let clip = clip_config();
    let tower = |tower| TowerConfig { activation: Activation::Gelu, ..tower };
    Config { vision: tower(clip.vision), text: tower(clip.text), patch_size: 16, end_token: None, ..clip }
}

/// The published models, and the operations of their vision towers: 2 · 4.4, 17.6, 81.0 and 191.0 billion multiply-adds.
#[test]
fn architectures_are_the_published_ones() {
    let base = Config { end_token: None, ..clip_config() };
    let large =
        |tower: TowerConfig, width, layers| TowerConfig { width, layers, heads: width / 64, mlp: 4 * width, ..tower };
    let l = Config {
        vision: large(base.vision.clone(), 1024, 24),
        text: large(base.text.clone(), 768, 12),
        patch_size: 14,
        embed: 768,
        ..base
    };
    for (name, flops, expected) in [
        ("ViT-B-32", 8_817_623_040.0, base.clone()),
        ("ViT-B-16", 35_126_906_880.0, Config { patch_size: 16, ..base }),
        ("ViT-L-14", 162_025_537_536.0, l.clone()),
        ("ViT-L-14-336", 381_919_789_056.0, Config { image_size: 336, ..l }),
    ] {
        let config = Config::named(name).unwrap();
        assert_eq!((config.vision_flops(), config), (flops, expected), "{name}");
    }
    assert!(Config::named("ViT-B").unwrap_err().to_string().contains("found \"ViT-B\", expected ViT-B-32"));
}

fn open(folder: &Folder) -> Config {
    Config::open(folder.path(), None).unwrap()
}

/// Takes a field out of a JSON file: `vision_config.hidden_act`.
fn remove(folder: &Folder, file: &str, field: &str) {
    let mut json = folder.json(file);
    let (section, name) = field.rsplit_once('.').unwrap_or(("", field));
    let place = section.split('.').filter(|name| !name.is_empty()).fold(&mut json, |place, name| &mut place[name]);
    place.as_object_mut().unwrap().remove(name).unwrap_or_else(|| panic!("no {field}"));
    folder.write(file, json.to_string());
}

/// Every field of an object, by its place.
fn leaves(json: &Value, prefix: &str, all: &mut Vec<String>) {
    for (name, value) in json.as_object().unwrap() {
        let place = format!("{prefix}{name}");
        match value {
            Value::Object(_) if !name.contains("size") => leaves(value, &format!("{place}."), all),
            _ => all.push(place),
        }
    }
}

/// A missing field, and what the golden model's config becomes by its default.
type Row = (&'static str, fn(&mut Config));

/// Every field of the golden `config.json`.
const TRANSFORMERS: &[Row] = &[
    ("architectures", |_| ()),
    ("model_type", |_| ()),
    ("logit_scale_init_value", |_| ()),
    ("projection_dim", |config| config.embed = 512),
    ("vision_config.hidden_size", |config| config.vision.width = 768),
    ("vision_config.num_attention_heads", |config| config.vision.heads = 12),
    ("vision_config.intermediate_size", |config| config.vision.mlp = 3072),
    ("vision_config.num_hidden_layers", |config| config.vision.layers = 12),
    ("vision_config.hidden_act", |config| config.vision.activation = Activation::QuickGelu),
    ("vision_config.projection_dim", |_| ()),
    ("vision_config.layer_norm_eps", |config| config.vision.eps = 1e-5),
    ("vision_config.num_channels", |_| ()),
    ("vision_config.image_size", |config| config.image_size = 224),
    ("text_config.hidden_size", |config| config.text.width = 512),
    ("text_config.num_attention_heads", |config| config.text.heads = 8),
    ("text_config.intermediate_size", |config| config.text.mlp = 2048),
    ("text_config.num_hidden_layers", |config| config.text.layers = 12),
    ("text_config.hidden_act", |config| config.text.activation = Activation::QuickGelu),
    ("text_config.projection_dim", |_| ()),
    ("text_config.layer_norm_eps", |config| config.text.eps = 1e-5),
    ("text_config.vocab_size", |config| config.vocabulary = 49_408),
    ("text_config.max_position_embeddings", |config| config.context = 77),
    ("text_config.bos_token_id", |_| ()),
    ("text_config.eos_token_id", |config| config.end_token = Some(49_407)),
];

#[test]
fn transformers_defaults() {
    let folder = Folder::golden("transformers");
    folder.remove(PROCESSOR);
    folder.write(HF, "{}");
    assert_eq!(open(&folder), clip_config());

    // With all that can be away from its default away from it, one field after the other is taken out.
    let other = || {
        let folder = Folder::golden("transformers");
        folder.remove(PROCESSOR); // its sizes must be the model's
        for tower in ["vision_config", "text_config"] {
            folder.set(HF, &format!("{tower}.hidden_act"), json!("gelu"));
            folder.set(HF, &format!("{tower}.layer_norm_eps"), json!(0.1));
        }
        folder.set(HF, "text_config.max_position_embeddings", json!(40));
        folder
    };
    let full = open(&other());
    let mut fields = Vec::new();
    leaves(&other().json(HF), "", &mut fields);
    for field in fields.iter().filter(|field| *field != "vision_config.patch_size") {
        let row = TRANSFORMERS.iter().find(|(name, _)| name == field);
        let (_, change) = row.unwrap_or_else(|| panic!("no row for {field}"));
        let folder = other();
        remove(&folder, HF, field);
        let mut expected = full.clone();
        change(&mut expected);
        assert_eq!(open(&folder), expected, "without {field}");
    }
    // 24 pixels are no whole number of patches of 32; 224 are.
    let folder = other();
    remove(&folder, HF, "vision_config.patch_size");
    remove(&folder, HF, "vision_config.image_size");
    assert_eq!(open(&folder), Config { patch_size: 32, image_size: 224, ..full });
}

/// The defaults in the forward pass: the activation of one tower at a time, with another one in the other tower; heads.
#[test]
fn transformers_default_activation_and_heads() {
    type Row = (&'static str, &'static str, fn(&mut Clip));
    let rows: [Row; 4] = [
        ("vision_config.hidden_act", "text_config", |clip| {
            (clip.vision.activation, clip.text.activation) = (quick_gelu, gelu)
        }),
        ("text_config.hidden_act", "vision_config", |clip| {
            (clip.vision.activation, clip.text.activation) = (gelu, quick_gelu)
        }),
        ("vision_config.num_attention_heads", "", |clip| clip.vision.heads = 12),
        ("text_config.num_attention_heads", "", |clip| clip.text.heads = 8),
    ];
    for (field, other, change) in rows {
        let folder = Folder::golden("transformers");
        remove(&folder, HF, field);
        if !other.is_empty() {
            folder.set(HF, &format!("{other}.hidden_act"), json!("gelu"));
        }
        let mut clip = folder.clip();
        change(&mut clip);
        assert_gives(&folder.load().unwrap(), &clip, field);
    }
}

/// Every field of the golden `preprocessor_config.json`, each away from its default before it is taken out.
#[test]
fn processor_defaults() {
    let rows: [(&str, Value); 10] = [
        ("crop_size", json!({"height": 24, "width": 24})),
        ("size", json!({"height": 24, "width": 24})),
        ("do_center_crop", json!(true)),
        ("do_resize", json!(true)),
        ("do_normalize", json!(false)),
        ("do_rescale", json!(false)),
        ("rescale_factor", json!(0.5)),
        ("resample", json!(3)),
        ("do_convert_rgb", json!(true)),
        ("image_mean", json!([0.1, 0.2, 0.3])),
    ];
    let std = ("image_std", json!([0.1, 0.2, 0.3]));
    let golden = Folder::golden("transformers");
    let mut fields = Vec::new();
    leaves(&golden.json(PROCESSOR), "", &mut fields);
    let expected = open(&golden);
    for field in fields {
        let row = rows.iter().chain([&std]).find(|(name, _)| *name == field);
        let (_, value) = row.unwrap_or_else(|| panic!("no row for {field}"));
        let folder = Folder::golden("transformers");
        folder.set(PROCESSOR, &field, value.clone());
        let implemented_alone = ["crop_size", "do_center_crop", "do_resize", "resample", "do_convert_rgb"];
        assert_eq!(open(&folder) == expected, implemented_alone.contains(&&*field), "{field} = {value}");
        remove(&folder, PROCESSOR, &field);
        assert_eq!(open(&folder), expected, "without {field}");
    }
    let folder = Folder::golden("transformers");
    folder.write(PROCESSOR, "{}");
    assert_eq!(open(&folder), expected);
    folder.remove(PROCESSOR);
    assert_eq!(open(&folder), expected);
}

/// Every field of the golden `open_clip_config.json`.
const OPEN_CLIP_ROWS: &[Row] = &[
    ("model_cfg.embed_dim", |config| config.embed = 512),
    ("model_cfg.quick_gelu", |config| {
        (config.vision.activation, config.text.activation) = (Activation::Gelu, Activation::Gelu)
    }),
    ("model_cfg.vision_cfg.image_size", |config| config.image_size = 224),
    ("model_cfg.vision_cfg.layers", |config| config.vision.layers = 12),
    ("model_cfg.vision_cfg.width", |config| {
        (config.vision.width, config.vision.heads, config.vision.mlp) = (768, 768 / 16, 3 * 768)
    }),
    ("model_cfg.vision_cfg.patch_size", |config| config.patch_size = 16),
    ("model_cfg.vision_cfg.head_width", |config| config.vision.heads = 1),
    ("model_cfg.vision_cfg.mlp_ratio", |config| config.vision.mlp = 4 * 64),
    ("model_cfg.vision_cfg.norm_kwargs.eps", |config| config.vision.eps = 1e-5),
    ("model_cfg.text_cfg.context_length", |config| config.context = 77),
    ("model_cfg.text_cfg.vocab_size", |config| config.vocabulary = 49_408),
    ("model_cfg.text_cfg.width", |config| (config.text.width, config.text.mlp) = (512, 2 * 512)),
    ("model_cfg.text_cfg.heads", |config| config.text.heads = 8),
    ("model_cfg.text_cfg.layers", |config| config.text.layers = 12),
    ("model_cfg.text_cfg.mlp_ratio", |config| config.text.mlp = 4 * 48),
    ("model_cfg.text_cfg.norm_kwargs.eps", |config| config.text.eps = 1e-5),
    ("model_cfg.text_cfg.no_causal_mask", |config| config.causal = true),
    ("model_cfg.vision_cfg.pool_type", |config| config.pooling = Pooling::ClassToken),
    ("model_cfg.vision_cfg.no_ln_pre", |config| config.pre_norm = true),
    ("model_cfg.vision_cfg.ls_init_value", |config| config.vision.layer_scale = false),
    ("model_cfg.text_cfg.ls_init_value", |config| config.text.layer_scale = false),
    ("preprocess_cfg.mean", |config| config.mean = OPENAI_MEAN),
    ("preprocess_cfg.std", |config| config.std = OPENAI_STD),
    ("preprocess_cfg.interpolation", |_| ()),
    ("preprocess_cfg.resize_mode", |config| config.resize = Resize::ShortestEdge),
];

#[test]
fn open_clip_defaults() {
    let folder = Folder::golden("open_clip");
    for empty in
        ["{}", r#"{"model_cfg": {}}"#, r#"{"model_cfg": {"vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {}}"#]
    {
        folder.write(OPEN_CLIP, empty);
        assert_eq!(open(&folder), open_clip_config(), "{empty}");
    }
    let other = || {
        let folder = Folder::golden("open_clip");
        for (field, value) in [
            ("model_cfg.quick_gelu", json!(true)),
            ("model_cfg.text_cfg.no_causal_mask", json!(true)),
            ("model_cfg.vision_cfg.pool_type", json!("avg")),
            ("model_cfg.vision_cfg.no_ln_pre", json!(true)),
            ("preprocess_cfg.resize_mode", json!("squash")),
        ] {
            folder.set(OPEN_CLIP, field, value);
        }
        for tower in ["vision_cfg", "text_cfg"] {
            folder.set(OPEN_CLIP, &format!("model_cfg.{tower}.norm_kwargs.eps"), json!(0.1));
            folder.set(OPEN_CLIP, &format!("model_cfg.{tower}.ls_init_value"), json!(0.1));
        }
        folder
    };
    let full = open(&other());
    let mut fields = Vec::new();
    leaves(&other().json(OPEN_CLIP), "", &mut fields);
    for field in fields {
        let row = OPEN_CLIP_ROWS.iter().find(|(name, _)| *name == field);
        let (_, change) = row.unwrap_or_else(|| panic!("no row for {field}"));
        let folder = other();
        remove(&folder, OPEN_CLIP, &field);
        let mut expected = full.clone();
        change(&mut expected);
        assert_eq!(open(&folder), expected, "without {field}");
    }
}
