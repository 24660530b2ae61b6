//! Texts at the limits: of the context, and of a batch.

use super::common::noise;
use super::{golden, method, prompts};
use crossalign::backend::{Backend, Cpu, CropPlan, Precision, Rgb, TransformerRow};
use crossalign::engine::Embeddings;
use crossalign::image::CropBox;
use crossalign::model::PictureViews;
use crossalign::{Method, Model, ModelOptions};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::path::Path;

/// A text of so many tokens, the start and the end among them: "sky" is one token.
fn of_tokens(count: usize) -> String {
    "sky ".repeat(count - 2)
}

#[test]
fn a_text_that_fills_the_context_is_whole() {
    for (name, context) in [("transformers", 77), ("open_clip", 40)] {
        let model = golden(name);
        assert_eq!(model.config().context, context);
        let tokenizer = model.tokenizer().unwrap();
        let whole = tokenizer.encode(&of_tokens(context)).unwrap();
        assert_eq!((whole.ids.len(), whole.truncated), (context, false));
        let less = tokenizer.encode(&of_tokens(context - 1)).unwrap();
        assert_eq!((less.ids.len(), less.truncated), (context - 1, false));
        for more in [1, 2, 50] {
            let cut = tokenizer.encode(&of_tokens(context + more)).unwrap();
            // The same words less, and the end token: the ids of the text that just fits.
            assert_eq!((&cut.ids, cut.truncated), (&whole.ids, true));
        }
        let texts = [context - 1, context, context + 1, context + 2].map(of_tokens);
        let encoded = model.encode_texts(&texts, true).unwrap();
        assert_eq!(encoded.truncated, 2);
        let rows: Vec<&[f32]> = encoded.embeddings.rows().collect();
        assert!(rows[0] != rows[1] && rows[1] == rows[2] && rows[1] == rows[3]);

        // A classifier counts its label prompts and its descriptions.
        let [fits, long] = [context, context + 1].map(of_tokens);
        for (descriptions, label, truncated) in [
            ([&fits, &fits], &fits, 0),
            ([&fits, &long], &fits, 1),
            ([&long, &long], &fits, 2),
            ([&long, &fits], &long, 2),
        ] {
            let prompts = prompts(&json!({label.trim(): descriptions}).to_string());
            let options = method(Method::Wca).with_template("{}");
            assert_eq!(model.compile_texts(&prompts, &options).unwrap().truncated, truncated);
        }
    }
}

/// Rows of a batch of the model that is made here.
const ROWS: usize = 24;
const WIDTH: usize = 4;
const VOCABULARY: usize = 814;
const CONTEXT: usize = 40;

/// A model of one thin block a tower, with an MLP so wide that the CPU takes batches of `ROWS` rows.
fn wide_model(folder: &Path) -> Model {
    let mlp = (24 << 20) / (size_of::<f32>() * ROWS) - 6 * WIDTH;
    let row = TransformerRow { width: WIDTH, hidden: mlp, patch: 3 * 8 * 8, precision: Precision::F32 };
    assert_eq!(Cpu::new(1).unwrap().preferred_rows(row), ROWS);
    let tower = |more: serde_json::Value| {
        let mut tower =
            json!({"hidden_size": WIDTH, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": mlp});
        tower.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tower
    };
    let config = json!({
        "model_type": "clip", "projection_dim": WIDTH,
        "vision_config": tower(json!({"image_size": 24, "patch_size": 8})),
        "text_config": tower(json!({"vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "eos_token_id": 813})),
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let tokenizer = "tests/golden/models/transformers/tokenizer.json";
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(tokenizer), folder.join("tokenizer.json")).unwrap();

    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("vision_model.embeddings.class_embedding".into(), vec![WIDTH]),
        ("vision_model.embeddings.patch_embedding.weight".into(), vec![WIDTH, 3, 8, 8]),
        ("vision_model.embeddings.position_embedding.weight".into(), vec![10, WIDTH]),
        ("text_model.embeddings.token_embedding.weight".into(), vec![VOCABULARY, WIDTH]),
        ("text_model.embeddings.position_embedding.weight".into(), vec![CONTEXT, WIDTH]),
        ("visual_projection.weight".into(), vec![WIDTH, WIDTH]),
        ("text_projection.weight".into(), vec![WIDTH, WIDTH]),
    ];
    for name in ["vision_model.pre_layrnorm", "vision_model.post_layernorm", "text_model.final_layer_norm"] {
        shapes.extend(["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![WIDTH])));
    }
    for tower in ["vision", "text"] {
        let block = format!("{tower}_model.encoder.layers.0");
        for part in ["layer_norm1.weight", "layer_norm1.bias", "layer_norm2.weight", "layer_norm2.bias"] {
            shapes.push((format!("{block}.{part}"), vec![WIDTH]));
        }
        for layer in ["q", "k", "v", "out"].map(|name| format!("{block}.self_attn.{name}_proj.weight")) {
            shapes.push((layer, vec![WIDTH, WIDTH]));
        }
        shapes.push((format!("{block}.mlp.fc1.weight"), vec![mlp, WIDTH]));
        shapes.push((format!("{block}.mlp.fc2.weight"), vec![WIDTH, mlp]));
    }
    // Values that differ from row to row; those of the MLP small, for they are many.
    let stored: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .enumerate()
        .map(|(seed, (name, shape))| {
            let count: usize = shape.iter().product();
            let scale = if count > 100_000 { 1e-3 } else { 1.0 };
            let value = |i: usize| scale * ((i * 37 + seed * 11) % 101) as f32 / 50.0 - scale;
            let bytes = (0..count).flat_map(|i| half::f16::from_f32(value(i)).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| (name.as_str(), TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap()));
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    Model::load(folder, &ModelOptions::default().with_device("cpu".parse().unwrap()).with_threads(1)).unwrap()
}

/// A batch that is just full, one row too long, or a single item that is longer than a batch: each item has the bits that
/// it has alone.
#[test]
fn full_batches_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = wide_model(folder.path());
    // Texts of these numbers of tokens, no two with the same tokens.
    let words = ["the", "of", "photo", "sky", "red", "night", "star", "two"];
    for lengths in [
        &[8, 8, 8][..],
        &[8, 8, 8, 3],
        &[8, 8, 7, 3],
        &[8, 8, 9],
        &[ROWS],
        &[ROWS, ROWS],
        &[ROWS - 1, 3, ROWS],
        &[ROWS + 1],
        &[CONTEXT, 3],
        &[5, ROWS + 1, 5, 6],
        &[12, 12, 12, 12, 3],
    ] {
        let texts: Vec<String> = lengths
            .iter()
            .enumerate()
            .map(|(i, length)| [words[i]].into_iter().cycle().take(length - 2).collect::<Vec<_>>().join(" "))
            .collect();
        for (text, length) in texts.iter().zip(lengths) {
            assert_eq!(model.tokenizer().unwrap().encode(text).unwrap().ids.len(), *length, "{text}");
        }
        let together = model.encode_texts(&texts, false).unwrap().embeddings;
        let alone: Vec<f32> =
            texts.iter().flat_map(|text| model.encode_texts(&[text], false).unwrap().embeddings.data).collect();
        assert!(together == Embeddings { width: WIDTH, data: alone }, "{lengths:?}");
        assert!((1..texts.len()).all(|i| together.row(i) != together.row(0)), "{lengths:?}: all the same");
        // Equal texts are encoded once, and stay in their places.
        let twice = model.encode_texts(&[&texts[..], &texts[..]].concat(), false).unwrap().embeddings;
        assert!(twice.data == [&together.data[..], &together.data[..]].concat(), "{lengths:?}");
    }

    // Views of 10 tokens each, two a batch.
    let pixels = noise(40, 30, 5);
    let picture = Rgb::new(40, 30, &pixels).unwrap();
    let plan = |boxes: &[CropBox]| model.config().plan_views((40, 30), boxes).unwrap();
    let boxes: Vec<CropBox> = (0..4).map(|i| CropBox::new(3 * i, 2 * i, 10 + i, 12)).collect();
    let rows = |plans: &[CropPlan]| {
        let jobs: Vec<PictureViews> = plans.iter().map(|plan| PictureViews { picture, plan }).collect();
        model.encode_views(&jobs, false).unwrap().data
    };
    let single: Vec<Vec<f32>> = boxes.iter().map(|&b| rows(&[plan(&[b])])[WIDTH..].to_vec()).collect();
    let global = rows(&[plan(&[])]);
    for counts in [&[0][..], &[1], &[2], &[3], &[4], &[1, 1], &[2, 0, 3], &[0, 0, 0]] {
        let plans: Vec<CropPlan> = counts.iter().map(|&count| plan(&boxes[..count])).collect();
        let expected: Vec<f32> =
            counts.iter().flat_map(|&count| [&global[..], &single[..count].concat()].concat()).collect();
        assert!(rows(&plans) == expected, "{counts:?}");
    }
}
