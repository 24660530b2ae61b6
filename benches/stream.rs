//! From a folder of JPEGs to scores: pictures a second of `classify`'s stream, beside what the vision tower does alone.
//!
//! `cargo bench --bench stream -- [PICTURES [MODEL [VIEWS]]]` makes 512 pictures of 1024×768 and classifies them with
//! ViT-B-32 on random weights, 61 views a picture (`--method wca`) and one (`cupl`), on `CROSSALIGN_DEVICE` (auto) in the
//! precision auto. MODEL is another architecture of `crossalign bench`, or mini: with that, a few pictures are a quick try.
//!
//! The tower's rate is that of batches as large as the stream's, of a picture that is decoded before.

mod input;

use crossalign::align::Views;
use crossalign::image::ViewSampling;
use crossalign::model::{Config, PictureViews};
use crossalign::{Device, Method, Model, ModelOptions, StreamOptions};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::Instant;

const CLASSES: usize = 1000;
/// Of each figure, the median counts.
const RUNS: usize = 3;
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
    let (views_a_second, [share, least]) = (tower(&model, &sampling, paths.len()), GOALS);
    let whole = views_a_second / views as f64;
    println!("tower: {views_a_second:.1} views/s; ÷ {views}: {whole:.2} pictures/s");
    let wca = rate(&model, Method::Wca, &sampling, &paths);
    let (found, result) = (wca / whole, met(wca, share * whole));
    println!("classify, {views} views: {wca:.2} pictures/s, {found:.3} of the tower; goal {share}: {result}");
    let cupl = rate(&model, Method::Cupl, &sampling, &paths);
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

/// Views a second, from decoded pictures, at `most` so many together, to embeddings.
fn tower(model: &Model, sampling: &ViewSampling, most: usize) -> f64 {
    let picture = input::picture(1024, 768);
    let boxes = sampling.boxes(picture.as_rgb()).expect("default ranges");
    let plan = model.config().plan_views((1024, 768), &boxes).expect("boxes of this picture");
    let together = (model.preferred_views() / plan.views().len()).clamp(1, most);
    let jobs = vec![PictureViews { picture: picture.as_rgb(), plan: &plan }; together];
    let seconds = median(|| {
        model.encode_views(&jobs, true).expect("a valid call");
    });
    (jobs.len() * plan.views().len()) as f64 / seconds
}

/// Pictures a second, from files to scores.
fn rate(model: &Model, method: Method, sampling: &ViewSampling, paths: &[PathBuf]) -> f64 {
    let classifier = input::classifier(model.clone(), method, CLASSES).with_views(Views::Sampled(*sampling));
    let options = StreamOptions::default();
    let seconds = median(|| {
        for (path, result) in classifier.stream(options.clone()).files(paths.to_vec()) {
            result.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    });
    paths.len() as f64 / seconds
}

/// Seconds that `work` takes, after one run that does not count.
fn median(mut work: impl FnMut()) -> f64 {
    work();
    let mut seconds: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[RUNS / 2]
}
