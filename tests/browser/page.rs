//! The page of `examples/web` as a visitor uses it, against the same library on the CPU.

use crate::chromium::{self, WebGpu};
use crate::common::assert_close;
use crate::server::File;
use crossalign::align::CompileOptions;
use crossalign::image::ViewSampling;
use crossalign::model::MINI_PROMPTS;
use crossalign::{Classification, Classifier, Model, ModelOptions, Picture, Prompts, Views};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Descriptions that a visitor writes.
const WRITTEN: &str = r#"{"pig": ["a pink animal", "a curly tail"], "car": ["wheels"], "cloud": "white and high up"}"#;
/// Local views, fewer than the page's: the software driver is slow.
const VIEWS: usize = 4;
/// A picture that a visitor drops.
const DROPPED: &str = "models/mini/testset/single/banana/0.png";

/// What the page shows.
#[derive(Deserialize)]
struct Shown {
    status: String,
    error: bool,
    /// Classes with their scores, from the top down.
    scores: Vec<(String, f32)>,
    explained: String,
    map: Map,
}

/// A canvas: its width, and red, green, blue and alpha of its pixels.
#[derive(Deserialize)]
struct Map {
    width: u32,
    pixels: Vec<u8>,
}

/// The folder of the page, which is built once.
static SITE: LazyLock<PathBuf> = LazyLock::new(|| {
    let site = Path::new(env!("CARGO_TARGET_TMPDIR")).join("web");
    let built = Command::new(path("scripts/web")).arg(&site).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    site
});

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The page's files, and in them a visitor who takes these steps.
fn files(steps: &str) -> Vec<File> {
    let page = std::fs::read_to_string(SITE.join("index.html")).unwrap();
    assert!(page.contains(r#"value="60""#));
    let mut page = page.replace(r#"value="60""#, &format!(r#"value="{VIEWS}""#));
    page += &format!("<script type=module>{}await visit([{steps}]);</script>", include_str!("visitor.js"));
    let mut files = vec![
        File::new("", page),
        File::new("written", WRITTEN),
        File::new("dropped.png", std::fs::read(path(DROPPED)).unwrap()),
    ];
    for file in std::fs::read_dir(&*SITE).unwrap().map(|file| file.unwrap()) {
        files.push(File::new(file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()));
    }
    files
}

/// What the page shows after each of the visitor's steps.
fn visit(steps: &str, web_gpu: WebGpu) -> Vec<Shown> {
    let results = chromium::results(files(steps), web_gpu).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&results).unwrap_or_else(|_| panic!("{results}"))
}

/// On the CPU, as the page has it.
fn classifier(prompts: &str) -> Classifier {
    let model = Model::mini(&ModelOptions::default().with_device("cpu".parse().unwrap())).unwrap();
    let options = CompileOptions::default().with_keep_texts(true);
    let classifier = model.compile(&Prompts::from_json(prompts).unwrap(), &options).unwrap();
    classifier.with_views(Views::Sampled(ViewSampling { count: VIEWS, ..Default::default() }))
}

fn picture(name: &str) -> Picture {
    Picture::open(path(name), &Default::default()).unwrap()
}

fn assert_shows(shown: &Shown, expected: &Classification, count: usize) {
    assert!(!shown.error && shown.status.contains(", wgpu:0: "), "{}", shown.status);
    let predictions = expected.predictions();
    assert_eq!(shown.scores.len(), count);
    for ((class, score), best) in shown.scores.iter().zip(&predictions) {
        let expected = predictions.iter().find(|prediction| prediction.class == class).unwrap();
        assert_close(&[*score], &[expected.score], 2e-5, class);
        assert_close(&[*score], &[best.score], 2e-5, "the order");
    }
}

#[machine::has(chromium, wasm32)]
#[test]
fn the_page_classifies() {
    let steps = "loaded, () => drop('dropped.png'), () => explain(1), () => write('written'), () => type('{')";
    let shown = visit(steps, WebGpu::Offered);
    let [example, dropped, explained, written, typed] = shown.as_slice() else { panic!("{} steps", shown.len()) };

    let [concepts, others] = [MINI_PROMPTS, WRITTEN].map(classifier);
    let [pig, banana] = ["models/mini/example.png", DROPPED].map(picture);
    assert_shows(example, &concepts.classify(&pig).unwrap(), 10);
    assert_eq!((example.scores[0].0.as_str(), example.explained.as_str()), ("pig", "Evidence for pig, least to most"));
    let map = concepts.explain(&pig, "pig").unwrap().heat_map(&pig);
    assert_eq!((example.map.width, example.map.pixels.len()), (map.width(), 4 * map.pixels().len()));
    let differ = |(found, expected): (&[u8], &image::Rgb<u8>)| (0..3).any(|i| found[i].abs_diff(expected[i]) > 2);
    let count = example.map.pixels.chunks(4).zip(map.pixels()).filter(|&pair| differ(pair)).count();
    assert_eq!(count, 0, "pixels of the heat map differ");

    assert_shows(dropped, &concepts.classify(&banana).unwrap(), 10);
    assert_eq!(explained.explained, format!("Evidence for {}, least to most", dropped.scores[1].0));
    assert!(explained.map.pixels != dropped.map.pixels, "another class has another map");
    assert_shows(written, &others.classify(&banana).unwrap(), 3);
    assert!(typed.error && typed.status.contains("prompts"), "{}", typed.status);
    assert_eq!(typed.scores, written.scores, "a fault changes nothing");
}

#[machine::has(chromium, wasm32)]
#[test]
fn without_webgpu_the_page_says_so() {
    let shown = visit("loaded, () => drop('dropped.png')", WebGpu::None);
    assert_eq!(shown.len(), 2);
    for shown in shown {
        assert!(shown.error && shown.status.contains("this browser has no WebGPU"), "{}", shown.status);
        assert!(shown.scores.is_empty());
    }
}
