//! `crossalign classify`

use super::options::{DecodeArgs, Format, ModelArgs, PromptArgs, ViewArgs};
use super::pictures::{self, Listed, Opened, Strays};
use super::{about, input, print, report, warn_truncated};
use crate::align::{Classification, Classifier, CompileOptions, Compiled, Method, Views};
use crate::engine::Towers;
use crate::error::{Error, Result};
use crate::image::Picture;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

/// Pictures whose single views are encoded together, where the method has one view a picture.
const BATCH: usize = 16;

/// Score pictures against classes
#[derive(clap::Args)]
pub(super) struct Args {
    /// Pictures, or folders of pictures, whose other files are counted and left out
    #[arg(required = true, value_name = "IMG|-")]
    images: Vec<PathBuf>,
    /// Take the pictures in the folders of folders, too
    #[arg(long)]
    recursive: bool,
    #[command(flatten)]
    model: ModelArgs,
    /// A file of `crossalign compile`, in place of prompts
    #[arg(long, value_name = "FILE|-", conflicts_with_all =
        ["prompts", "labels", "method", "score", "image_scale", "text_scale", "template"])]
    classifier: Option<PathBuf>,
    #[command(flatten)]
    prompts: PromptArgs,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    decode: DecodeArgs,
    /// How many classes to print, or all
    #[arg(long, default_value = "5", value_parser = parse_top, value_name = "N|all")]
    top: usize,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn parse_top(text: &str) -> Result<usize, String> {
    match text {
        "all" => Ok(usize::MAX),
        _ => text.parse().ok().filter(|&top| top > 0).ok_or_else(|| "a number of at least 1, or all".into()),
    }
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let images = self.images.iter().chain(&self.classifier).map(PathBuf::as_path);
        input::check(&[images.collect(), self.prompts.inputs(), self.views.inputs()].concat())?;
        let views = self.views.views()?;
        let classifier = self.classifier()?;
        let wca = classifier.compiled().options.method == Method::Wca;
        if wca && views.count() == 0 {
            return Err(Error::argument("views", "0 local views", "at least 1 for the method wca"));
        }
        let (files, errors) = pictures::list(&self.images, self.recursive);
        errors.iter().for_each(|error| report(&error.to_string()));
        let (mut failed, mut strays) = (!errors.is_empty(), Strays::default());
        let batch = if wca { classifier.model().devices() } else { BATCH };
        let bar = self.progress(files.len());
        let decode = self.decode.options();
        // The next batch is decoded while this one is classified.
        let (sender, batches) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                for files in files.chunks(batch) {
                    let opened: Vec<_> = files.iter().map(|file| (file, pictures::open(&file.path, &decode))).collect();
                    if sender.send(opened).is_err() {
                        break; // the results could not be printed
                    }
                }
            });
            for opened in batches {
                let count = opened.len() as u64;
                failed |= !self.classify_batch(&classifier, opened, &views, &mut strays, &bar)?;
                bar.inc(count);
            }
            Ok::<_, Error>(())
        })?;
        bar.finish_and_clear();
        strays.report();
        failed |= strays.fill_a_folder(&files);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Prints the results of a batch; whether all of it has one.
    fn classify_batch<'a>(
        &self,
        classifier: &Classifier,
        batch: Vec<(&Listed<'a>, Result<Opened>)>,
        views: &Views,
        strays: &mut Strays<'a>,
        bar: &ProgressBar,
    ) -> Result<bool> {
        let (mut paths, mut pictures, mut whole) = (Vec::new(), Vec::new(), true);
        let mut fail = |path: &Path, error: Error| {
            whole = false;
            bar.suspend(|| report(&about(path, error)));
        };
        for (file, opened) in batch {
            match opened {
                Ok(opened) => {
                    bar.suspend(|| self.model.warn_of_photograph(&file.path, &opened));
                    paths.push(&file.path);
                    pictures.push(opened.picture);
                }
                Err(error) if strays.count(&file.path, file.folder, &error) => {}
                Err(error) => fail(&file.path, error),
            }
        }
        let mut lines = String::new();
        for (path, result) in paths.iter().zip(score(classifier, &pictures, views)?) {
            match result {
                Ok(result) => lines += &self.show(path, &classifier.compiled().options, &result),
                Err(error) => fail(path, error),
            }
        }
        bar.suspend(|| print(&lines))?;
        Ok(whole)
    }

    fn classifier(&self) -> Result<Classifier> {
        if let Some(path) = &self.classifier {
            let compiled = Compiled::from_bytes(&input::read(path)?).map_err(|error| error.in_file(path))?;
            return self.model.load(Towers::Vision)?.into_classifier(compiled).map_err(|error| error.in_file(path));
        }
        // Bad prompts are told before a large model is read.
        let prompts = self.model.prompts(&self.prompts)?;
        let model = self.model.load(Towers::Both)?;
        let classifier = model.compile(&prompts, &self.prompts.options())?;
        warn_truncated(classifier.compiled().truncated, model.config().context);
        Ok(classifier)
    }

    /// A bar on stderr for long lists, on a terminal only.
    fn progress(&self, files: usize) -> ProgressBar {
        if files < 2 || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} pictures, {eta} left");
        ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn show(&self, path: &Path, options: &CompileOptions, result: &Classification<'_>) -> String {
        let predictions = result.predictions();
        let predictions = &predictions[..predictions.len().min(self.top)];
        match self.format {
            Format::Text => {
                let lines = predictions.iter().map(|p| format!("  {:7.4}  {}\n", p.score, p.class));
                std::iter::once(format!("{}\n", path.display())).chain(lines).collect()
            }
            Format::Json => {
                let crop = |v: &crate::align::WeightedView| [v.crop.x, v.crop.y, v.crop.width, v.crop.height];
                let line = json!({
                    "image": path.to_string_lossy(),
                    "method": options.method,
                    "score": (options.method == Method::Wca).then_some(options.score),
                    "predictions": predictions.iter()
                        .map(|p| json!({"class": p.class, "score": p.score})).collect::<Vec<_>>(),
                    "views": result.views().iter()
                        .map(|v| json!({"box": crop(v), "weight": v.weight})).collect::<Vec<_>>(),
                });
                format!("{line}\n")
            }
        }
    }
}

/// Scores pictures together; where that fails, each alone, so that one that is too large or that has no room for a box
/// loses only itself.
///
/// # Errors
/// When the device fails: that is no picture's fault.
fn score<'a>(
    classifier: &'a Classifier,
    pictures: &[Picture],
    views: &Views,
) -> Result<Vec<Result<Classification<'a>>>> {
    match classifier.classify_batch(&pictures.iter().collect::<Vec<_>>(), views) {
        Ok(results) => Ok(results.into_iter().map(Ok).collect()),
        Err(error @ Error::Device { .. }) => Err(error),
        Err(error) if pictures.len() == 1 => Ok(vec![Err(error)]),
        Err(_) => {
            let mut results = Vec::new();
            for picture in pictures.chunks(1) {
                results.extend(score(classifier, picture, views)?);
            }
            Ok(results)
        }
    }
}
