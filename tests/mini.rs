//! The accuracy of the built-in model on its committed test set: pictures of a style that it was not trained on.
#![cfg(feature = "mini")]

use crossalign::align::{CompileOptions, Method, Views};
use crossalign::backend::Precision;
use crossalign::engine::ModelOptions;
use crossalign::image::ViewSampling;
use crossalign::model::{MINI_PROMPTS, PictureViews};
use crossalign::{Classifier, DecodeOptions, Model, Picture, Prompts};
use std::path::{Path, PathBuf};

/// Points of accuracy that a change may cost.
const TOLERANCE: f64 = 3.0;
/// Local views a picture; fewer than the default, for time.
const VIEWS: usize = 20;

/// Top-1 accuracy in percent when the model landed.
const SINGLE_CLIP: f64 = 76.0;
const SINGLE_WCA: f64 = 76.0;
const SCENES_CLIP: f64 = 42.0;
const SCENES_WCA: f64 = 46.0;

/// The pictures of one part of the test set, with their classes.
fn pictures(part: &str) -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/testset").join(part);
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    let class = |folder: &PathBuf| folder.file_name().unwrap().to_str().unwrap().replace('_', " ");
    entries(&root).iter().flat_map(|folder| entries(folder).into_iter().map(|path| (class(folder), path))).collect()
}

fn classifier(method: Method) -> Classifier {
    let prompts = Prompts::from_json(MINI_PROMPTS).unwrap();
    let model = Model::mini(&Default::default()).unwrap();
    model.compile(&prompts, &CompileOptions::default().with_method(method)).unwrap()
}

/// Share of pictures, in percent, whose class comes first.
fn top_1(part: &str, method: Method) -> f64 {
    let classifier = classifier(method);
    let views = Views::Sampled(ViewSampling { count: VIEWS, ..Default::default() });
    let pictures = pictures(part);
    let right = pictures.iter().filter(|(class, path)| {
        let picture = Picture::open(path, &DecodeOptions::default()).unwrap();
        classifier.clone().with_views(views.clone()).classify_batch(&[&picture]).unwrap()[0].predictions()[0].class
            == class
    });
    100.0 * right.count() as f64 / pictures.len() as f64
}

#[track_caller]
fn check(part: &str, method: Method, landed: f64) {
    let found = top_1(part, method);
    println!("{part} {method:?}: {found:.1}%");
    assert!(found >= landed - TOLERANCE, "{part} {method:?}: top-1 {found:.1}%, was {landed:.1}%");
}

#[test]
fn single_objects() {
    check("single", Method::Clip, SINGLE_CLIP);
    check("single", Method::Wca, SINGLE_WCA);
}

#[test]
fn scenes() {
    check("scenes", Method::Clip, SCENES_CLIP);
    check("scenes", Method::Wca, SCENES_WCA);
}

#[test]
fn the_example_is_recognised() {
    let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/example.png");
    let picture = Picture::open(picture, &DecodeOptions::default()).unwrap();
    assert_eq!(classifier(Method::Wca).classify(&picture).unwrap().predictions()[0].class, "pig");
}

/// What a precision costs: the least cosine of a picture's embedding to the one in f32.
#[test]
fn precisions_keep_the_direction() {
    let encode = |precision| {
        let precision = Some(precision);
        let model = Model::mini(&ModelOptions::default().with_device("cpu".parse().unwrap()).with_precision(precision))
            .unwrap();
        let pictures = pictures("single").into_iter().step_by(5);
        let embed = |(_, path): (String, PathBuf)| {
            let picture = Picture::open(path, &DecodeOptions::default()).unwrap();
            let plan = model.config().plan_views((picture.width(), picture.height()), &[]).unwrap();
            model.encode_views(&[PictureViews { picture: picture.as_rgb(), plan: &plan }], true).unwrap().data
        };
        pictures.map(embed).collect::<Vec<_>>()
    };
    let expected = encode(Precision::F32);
    for (precision, least) in [(Precision::F16, 0.999_99), (Precision::Bf16, 0.9999), (Precision::Int8, 0.999)] {
        let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let found = encode(precision).iter().zip(&expected).map(cosine).fold(1.0, f32::min);
        println!("{precision}: {found}");
        assert!(found >= least, "{precision}: {found}");
    }
}
