//! The switches that change what kernels are called with, on every backend: pooling by the mean, no norm before the first
//! block, text that looks both ways.

use super::common;
use super::folder::{Folder, TEXTS};
use super::forward::{Clip, Pooling};
use crossalign::backend::{Precision, Reference};
use crossalign::engine::{Model, ModelOptions};
use crossalign::image::{CropBox, Resize, plan_views, resampled};
use crossalign::model::PictureViews;
use serde_json::json;

const OPEN_CLIP: &str = "open_clip_config.json";

/// A model whose switches are all away from their defaults.
fn switched(norm_last: bool) -> (Folder, Clip) {
    let folder = Folder::golden("open_clip");
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.pool_type", json!("avg"));
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.final_ln_after_pool", json!(norm_last));
    folder.set(OPEN_CLIP, "model_cfg.vision_cfg.no_ln_pre", json!(true));
    folder.set(OPEN_CLIP, "model_cfg.text_cfg.no_causal_mask", json!(true));
    folder.tensors(|tensors| tensors.retain(|name, _| !name.starts_with("visual.ln_pre")));
    let pooling = if norm_last { Pooling::AverageThenNorm } else { Pooling::NormThenAverage };
    let clip = Clip { pooling, pre_norm: false, padded: Some(40), ..folder.clip() };
    (folder, clip)
}

/// A model with two channels of the residual stream far above the others, as those of trained CLIPs are: a stream in f16
/// is the coarser for them.
fn with_outliers() -> (Folder, Clip) {
    let folder = Folder::golden("open_clip");
    folder.tensors(|tensors| {
        for name in ["visual.ln_pre.weight", "visual.ln_pre.bias", "token_embedding.weight", "positional_embedding"] {
            let (shape, values) = tensors.get_mut(name).unwrap();
            for row in values.chunks_mut(*shape.last().unwrap()) {
                [3, 17].into_iter().for_each(|channel| row[channel] *= 20.0);
            }
        }
    });
    let clip = folder.clip();
    (folder, clip)
}

/// Least cosine to the f64 embeddings, over three views and three texts.
fn least_cosine(device: &str, precision: Precision, (folder, clip): &(Folder, Clip)) -> f64 {
    let options =
        ModelOptions::default().with_device(device.parse().unwrap()).with_threads(2).with_precision(precision);
    let model = Model::load(folder.path(), &options).unwrap();

    let picture = crossalign::Picture::new(40, 30, common::noise(40, 30, 7)).unwrap();
    let boxes = [CropBox::new(3, 2, 20, 20), CropBox::new(0, 0, 16, 16)];
    let plan = plan_views((40, 30), &boxes, 16, Resize::ShortestEdge).unwrap();
    let views = resampled(&Reference, picture.as_rgb(), &plan).unwrap();
    let expected: Vec<Vec<f64>> = views.chunks(16 * 16 * 3).map(|view| clip.image(view)).collect();
    // Twice, so that a recorded pass runs again.
    let job = PictureViews { picture: picture.as_rgb(), plan: &plan };
    let first = model.encode_views(&[job], true).unwrap();
    let again = model.encode_views(&[job], true).unwrap();
    assert_eq!(first, again);
    let texts = model.encode_texts(&TEXTS, true).unwrap().embeddings;
    let ids = |text: &str| model.tokenizer().unwrap().encode(text).unwrap().ids;
    let expected_texts: Vec<Vec<f64>> = TEXTS.iter().map(|text| clip.text(&ids(text))).collect();
    let rows = first.rows().zip(&expected).chain(texts.rows().zip(&expected_texts));
    rows.map(|(found, expected)| found.iter().zip(expected).map(|(&a, b)| f64::from(a) * b).sum()).fold(1.0, f64::min)
}

fn check(device: &str, precisions: &[(Precision, f64)]) {
    let models = [
        ("the mean, then the norm", switched(true)),
        ("the norm, then the mean", switched(false)),
        ("outliers", with_outliers()),
    ];
    for &(precision, bound) in precisions {
        for (name, model) in &models {
            let cosine = least_cosine(device, precision, model);
            assert!(cosine > bound, "{device} {precision}, {name}: {cosine}");
        }
    }
}

const FLOATS: [(Precision, f64); 2] = [(Precision::F32, 0.999_999), (Precision::F16, 0.9999)];

#[test]
fn cpu() {
    check("cpu", &[FLOATS[0], FLOATS[1], (Precision::Bf16, 0.999), (Precision::Int8, 0.99)]);
}

#[test]
fn reference() {
    check("reference", &FLOATS);
}

#[cfg(feature = "wgpu")]
#[machine::has(vulkan)]
#[test]
fn wgpu() {
    check("wgpu:0", &FLOATS);
}

#[cfg(feature = "cuda")]
#[machine::has(gxx)]
#[test]
fn cuda() {
    common::cuda::load_driver();
    check("cuda", &FLOATS);
}
