//! From a file's bytes to the scores of 1,000 classes: decode a 1024×768 PNG or JPEG, cut 61 views, encode them with
//! ViT-B/32 on random weights, weigh and score; all threads.
//!
//! Operations are the vision tower's alone (8.8 GFLOP a view): what decoding takes shows as a lower share.

mod ceiling;
mod input;

use ceiling::{Group, Work};
use criterion::{Criterion, criterion_group, criterion_main};
use crossalign::image::{Resize, plan_views};
use crossalign::model::{Config, PictureViews};
use crossalign::{Classification, Classifier, DecodeOptions, Method, Model, ModelOptions, Picture};
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use std::hint::black_box;

const VIEWS: usize = 61;
const CLASSES: usize = 1000;

fn bench(criterion: &mut Criterion) {
    let mut group = Group::new(criterion, "end_to_end", 3.0);
    let threads = input::thread_counts().last().expect("at least one");
    let options = ModelOptions::default().with_device("cpu".parse().unwrap()).with_threads(threads);
    let model = Model::random(Config::named("ViT-B-32").expect("a published architecture"), &options);
    let classifier = input::classifier(model.expect("a CPU"), Method::Wca, CLASSES);
    let work = Work::Flops(classifier.model().config().vision_flops() * VIEWS as f64);

    let picture = input::picture(1024, 768);
    let (mut png, jpeg) = (Vec::new(), input::jpeg(&picture));
    PngEncoder::new(&mut png)
        .write_image(picture.as_rgb().pixels(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .expect("memory");
    assert!(decode(&png) == picture);
    check(&classifier, &picture, &classifier.classify(&picture).expect("a valid call"));

    for (format, bytes) in [("png", &png), ("jpeg", &jpeg)] {
        let name = format!("ViT-B-32 {format} {VIEWS} views {CLASSES} classes x{threads}");
        group.bench(&name, threads, 1, work, || {
            black_box(classifier.classify(&decode(bytes)).expect("a valid call"));
        });
    }
}

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode(bytes, &DecodeOptions::default()).expect("a whole picture")
}

/// The official score by its formula: `unit(Σ w f) · vector`, from the weights that the classifier reports.
fn check(classifier: &Classifier, picture: &Picture, result: &Classification) {
    let boxes: Vec<_> = result.views().iter().map(|view| view.crop).collect();
    let plan = plan_views((picture.width(), picture.height()), &boxes, 224, Resize::ShortestEdge)
        .expect("boxes of this picture");
    let job = PictureViews { picture: picture.as_rgb(), plan: &plan };
    let views = classifier.model().encode_views(&[job], true).expect("a valid call");
    assert_eq!(views.len(), VIEWS);

    let mut mean = vec![0.0; views.width];
    for (row, view) in views.rows().skip(1).zip(result.views()) {
        mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += view.weight * x);
    }
    let length = dot(&mean, &mean).sqrt();
    let expected: Vec<f32> =
        classifier.compiled().kept.rows().rows().map(|vector| dot(&mean, vector) / length).collect();
    input::assert_close(result.scores(), &expected);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

criterion_group! { name = benches; config = ceiling::criterion(); targets = bench }
criterion_main!(benches);
