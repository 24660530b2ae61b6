//! From a folder of JPEGs to scores: pictures a second of `classify`'s stream, beside what the vision tower does alone.
//!
//! `cargo bench --bench stream -- [PICTURES [MODEL [VIEWS]]]` makes 512 pictures of 1024×768 and classifies them with
//! ViT-B-32 on random weights, 61 views a picture (`--method wca`) and one (`cupl`), on `CROSSALIGN_DEVICE` (auto) in the
//! precision auto. MODEL is another architecture of `crossalign bench`, or mini: with that, a few pictures are a quick try.
//!
//! The tower's rate is that of batches as large as the stream's, of a picture that is decoded before; the two take turns.

mod input;

use crossalign::align::Views;
use crossalign::image::ViewSampling;
use crossalign::model::{Config, PictureViews};
use crossalign::{Device, Method, Model, ModelOptions, StreamOptions};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Instant;

const CLASSES: usize = 1000;
/// Of each figure, the median of so many counts.
const RUNS: usize = 5;
/// The share of the tower's rate that `classify` is to reach, and the pictures a second of `cupl` on 16 threads.
const GOALS: [f64; 2] = [0.9, 2000.0];

fn main() {
    // cargo bench adds an option of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let number = |at: usize, default| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (pictures, views) = (number(0, 512), number(2, 61));
    let name = arguments.get(1).map_or("ViT-B-32", String::as_str);
    let device = std::env::var("CROSSALIGN_DEVICE").map_or(Device::Auto, |device| device.parse().expect("a device"));
    let options = ModelOptions::default().with_device(device);
    let model = match name {
        "mini" => Model::mini(&options),
        _ => Model::random(Config::named(name).expect("a published architecture"), &options),
    };
    let model = model.expect("a device");

    let folder = tempfile::tempdir().expect("a folder");
    let paths = make(folder.path(), pictures);
    let bytes: u64 = paths.iter().map(|path| path.metadata().expect("a file").len()).sum();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{name} {} on {}, {threads} threads of the host", model.precision(), model.device());
    println!("{pictures} JPEGs of 1024x768, {} kB each, {CLASSES} classes", bytes / 1000 / paths.len() as u64);

    let sampling = ViewSampling { count: views - 1, ..Default::default() };
    let [share, least] = GOALS;
    let (wca, cupl) =
        (streamed(&model, Method::Wca, &sampling, &paths), streamed(&model, Method::Cupl, &sampling, &paths));
    let [tower, classify] = paired([&tower(&model, &sampling, paths.len()), &wca]);
    let (whole, found) = (median(&tower), median(&ratios(&tower, &classify)));
    println!("tower: {:.1} views/s; ÷ {views}: {whole:.2} pictures/s", whole * views as f64);
    let (rate, result) = (median(&classify), met(found, share));
    println!("classify, {views} views: {rate:.2} pictures/s, {found:.3} of the tower; goal {share}: {result}");
    let [cupl] = paired([&cupl]).map(|rates| median(&rates));
    println!("classify, cupl: {cupl:.0} pictures/s; goal {least} on 16 threads: {}", met(cupl, least));
}

fn met(rate: f64, goal: f64) -> &'static str {
    if rate >= goal { "met" } else { "not met" }
}

/// Makes so many pictures, each with its own noise.
fn make(folder: &Path, pictures: usize) -> Vec<PathBuf> {
    let file = |i| {
        let path = folder.join(format!("{i:04}.jpg"));
        std::fs::write(&path, input::jpeg(&input::seeded_picture(1024, 768, i as u64))).expect("room for the pictures");
        path
    };
    (0..pictures).into_par_iter().map(file).collect()
}

/// Pictures a second, of as many as `pictures`: once.
type Rate<'a> = Box<dyn Fn() -> f64 + 'a>;

/// From a decoded picture, as many at once as in the stream's batches, to embeddings.
fn tower<'a>(model: &'a Model, sampling: &ViewSampling, pictures: usize) -> Rate<'a> {
    let picture = input::picture(1024, 768);
    let boxes = sampling.boxes(picture.as_rgb()).expect("default ranges");
    let plan = model.config().plan_views((1024, 768), &boxes).expect("boxes of this picture");
    let together = (model.preferred_views() / plan.views().len()).clamp(1, pictures);
    Box::new(move || {
        let jobs = vec![PictureViews { picture: picture.as_rgb(), plan: &plan }; together];
        let start = Instant::now();
        let calls = pictures.div_ceil(together);
        for _ in 0..calls {
            model.encode_views(&jobs, true).expect("a valid call");
        }
        (calls * together) as f64 / start.elapsed().as_secs_f64()
    })
}

/// From files to scores.
fn streamed<'a>(model: &Model, method: Method, sampling: &ViewSampling, paths: &'a [PathBuf]) -> Rate<'a> {
    let classifier = input::classifier(model.clone(), method, CLASSES).with_views(Views::Sampled(*sampling));
    Box::new(move || {
        let start = Instant::now();
        for (path, result) in classifier.stream(StreamOptions::default()).files(paths.to_vec()) {
            result.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        paths.len() as f64 / start.elapsed().as_secs_f64()
    })
}

/// Rates of what takes turns, so that each meets the same noise, after one round that does not count.
fn paired<const N: usize>(rates: [&Rate<'_>; N]) -> [Vec<f64>; N] {
    let rounds: Vec<[f64; N]> = (0..=RUNS).map(|_| rates.map(|rate| rate())).collect();
    std::array::from_fn(|at| rounds[1..].iter().map(|round| round[at]).collect())
}

/// Of each round, the second rate by the first.
fn ratios(first: &[f64], second: &[f64]) -> Vec<f64> {
    first.iter().zip(second).map(|(first, second)| second / first).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
