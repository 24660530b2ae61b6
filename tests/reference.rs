//! Against what PyTorch, transformers and Pillow computed: the golden set in this folder, and the shared one where it
//! lies beside the checkout (its tests are reported as ignored elsewhere).

mod common;

use common::{Reference, assert_close, floats, json, levels, load, names, tensor};
use crossalign::align::{CompileOptions, Method, Score, Views};
use crossalign::backend::{Backend, Cpu, Precision, Reference as Scalar};
use crossalign::engine::ModelOptions;
use crossalign::image::{Resize, plan_views, resampled};
use crossalign::model::{PictureViews, TextCleaning};
use serde_json::Value;

macro_rules! suite {
    ($($name:ident),+) => {
        mod golden {
            $(#[test] fn $name() { super::$name(&super::Reference::golden()); })+
        }
        mod shared {
            $(#[machine::has(shared_reference)]
            #[test]
            fn $name() { super::$name(&super::Reference::shared()); })+
        }
    };
}

suite!(views_are_pillows_bytes, token_ids, embeddings, weights_and_scores, reference_backend);

/// On the first adapter, which on a machine without a GPU is a software driver.
#[cfg(feature = "wgpu")]
mod wgpu {
    #[machine::has(vulkan)]
    #[test]
    fn golden() {
        super::wgpu_backend(&super::Reference::golden());
    }

    #[machine::has(vulkan, shared_reference)]
    #[test]
    fn shared() {
        super::wgpu_backend(&super::Reference::shared());
    }
}

/// On NVIDIA's driver, or on its stand-in.
#[cfg(feature = "cuda")]
mod cuda {
    #[machine::has(gxx)]
    #[test]
    fn golden() {
        super::cuda_backend(&super::Reference::golden());
    }

    #[machine::has(gxx, shared_reference)]
    #[test]
    fn shared() {
        super::cuda_backend(&super::Reference::shared());
    }

    /// As above, by the kernels of compute capability 9.0.
    #[machine::has(gxx)]
    #[test]
    fn golden_by_sm90() {
        super::common::cuda::run_with("cuda::golden", &[("SIMT_CAPABILITY", "90")]);
    }

    #[machine::has(gxx, shared_reference)]
    #[test]
    fn shared_by_sm90() {
        super::common::cuda::run_with("cuda::shared", &[("SIMT_CAPABILITY", "90")]);
    }
}

fn views_are_pillows_bytes(reference: &Reference) {
    compare_views(reference, &Scalar);
    for level in levels() {
        compare_views(reference, &Cpu::with_level(level, 2).unwrap());
    }
}

fn compare_views(reference: &Reference, device: &impl Backend) {
    let file = reference.root.join("views.safetensors");
    let mut compared = 0;
    for (name, boxes) in reference.pictures() {
        let picture = reference.picture(&name);
        for key in names(&file).into_iter().filter(|key| key.starts_with(&format!("{name}."))) {
            let (shape, expected) = tensor(&file, &key);
            let plan =
                plan_views((picture.width(), picture.height()), &boxes, shape[1] as u32, Resize::ShortestEdge).unwrap();
            let found = resampled(device, picture.as_rgb(), &plan).unwrap();
            assert!(found == expected, "{key}: {}", device.describe());
            compared += 1;
        }
    }
    assert!(compared >= 6, "{compared} sets of views");
}

fn token_ids(reference: &Reference) {
    let rows = json(&reference.root.join("tokens.json"));
    for (key, cleaning) in [("hf", TextCleaning::None), ("openai", TextCleaning::OpenAi)] {
        // The first model's tokenizer is the one of tokens.json, with a context of 77.
        let dir = reference.models().into_iter().find(|dir| context(dir) == 77).unwrap();
        let model = load(&dir, options("cpu").with_text_cleaning(cleaning));
        for row in rows.as_array().unwrap() {
            let Some(expected) = row[key].as_array() else { continue };
            let expected: Vec<u32> = expected.iter().map(|id| id.as_u64().unwrap() as u32).collect();
            let tokens = model.tokenizer().unwrap().encode(row["text"].as_str().unwrap()).unwrap();
            assert_eq!(tokens.ids, expected, "{key}: {}", row["text"]);
        }
    }
}

fn context(dir: &std::path::Path) -> usize {
    load(dir, options("cpu")).config().context
}

fn options(device: &str) -> ModelOptions {
    ModelOptions::default().with_device(device.parse().unwrap()).with_threads(2).with_precision(Precision::F32)
}

fn embeddings(reference: &Reference) {
    for dir in reference.models() {
        check_embeddings(reference, &dir, "cpu");
    }
}

fn check_embeddings(reference: &Reference, dir: &std::path::Path, device: &str) {
    let model = load(dir, options(device));
    let expected = dir.join("expected.safetensors");
    for (name, boxes) in reference.pictures() {
        let picture = reference.picture(&name);
        let plan = model.config().plan_views((picture.width(), picture.height()), &boxes).unwrap();
        let job = PictureViews { picture: picture.as_rgb(), plan: &plan };
        let found = model.encode_views(&[job], false).unwrap();
        assert_close(&found.data, &floats(&expected, &format!("image_embeds.{name}")), 2e-5, &name);
    }
    let prompts = reference.prompts();
    let texts: Vec<String> = prompts
        .classes()
        .iter()
        .flat_map(|class| std::iter::once(format!("a photo of a {}.", class.name)).chain(class.descriptions.clone()))
        .collect();
    let found = model.encode_texts(&texts, false).unwrap();
    assert_close(&found.embeddings.data, &floats(&expected, "text_embeds"), 2e-5, "texts");
}

fn weights_and_scores(reference: &Reference) {
    for dir in reference.models() {
        check_scores(reference, &dir, "cpu");
    }
}

/// In f32 and, as far as halves go, in f16: the softmax of the views' weights makes e⁴ of a cosine's error.
fn check_scores(reference: &Reference, dir: &std::path::Path, device: &str) {
    compare_scores(reference, dir, options(device), [2e-6, 2e-5]);
    compare_scores(reference, dir, options(device).with_precision(Precision::F16), [2e-3, 5e-3]);
}

/// `bounds` of the scores and of the views' weights.
fn compare_scores(reference: &Reference, dir: &std::path::Path, options: ModelOptions, bounds: [f32; 2]) {
    let model = load(dir, options);
    let expected = json(&dir.join("expected.json"));
    let prompts = reference.prompts();
    let ways = [
        ("paper", Method::Wca, Score::Paper),
        ("official", Method::Wca, Score::Official),
        ("clip", Method::Clip, Score::Official),
        ("cupl", Method::Cupl, Score::Official),
    ];
    for (key, method, score) in ways {
        let options = CompileOptions::default().with_method(method).with_score(score);
        let classifier = model.compile(&prompts, &options).unwrap();
        for (name, boxes) in reference.pictures() {
            let picture = reference.picture(&name);
            let results = classifier.clone().with_views(Views::Boxes(boxes)).classify_batch(&[&picture]).unwrap();
            let entry = &expected["pictures"][&name];
            let class = |class: &crossalign::align::Class| number(&entry[key][&class.name]);
            let scores: Vec<f32> = prompts.classes().iter().map(class).collect();
            assert_close(results[0].scores(), &scores, bounds[0], &format!("{key} of {name}"));
            if method == Method::Wca {
                let weights: Vec<f32> = results[0].views().iter().map(|view| view.weight).collect();
                let expected: Vec<f32> = entry["image_weights"].as_array().unwrap().iter().map(number).collect();
                assert_close(&weights, &expected, bounds[1], &format!("weights of {name}"));
            }
        }
    }
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

/// The WebGPU backend runs all models and gives Pillow's bytes.
#[cfg(feature = "wgpu")]
fn wgpu_backend(reference: &Reference) {
    let device = crossalign::backend::Wgpu::new(Some(0)).unwrap();
    compare_views(reference, &device);
    for dir in reference.models() {
        check_embeddings(reference, &dir, "wgpu:0");
        check_scores(reference, &dir, "wgpu:0");
    }
}

/// The CUDA backend runs all models and gives Pillow's bytes.
#[cfg(feature = "cuda")]
fn cuda_backend(reference: &Reference) {
    common::cuda::load_driver();
    compare_views(reference, &crossalign::backend::Cuda::new(0).unwrap());
    for dir in reference.models() {
        check_embeddings(reference, &dir, "cuda");
        check_scores(reference, &dir, "cuda");
    }
}

/// The reference backend runs the same model; one is enough, for it is slow.
fn reference_backend(reference: &Reference) {
    let dir = &reference.models()[0];
    check_embeddings(reference, dir, "reference");
    check_scores(reference, dir, "reference");
}
