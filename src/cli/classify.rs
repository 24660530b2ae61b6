//! `crossalign classify`

use super::options::{DecodeArgs, Format, ModelArgs, PromptArgs, ViewArgs};
use super::{print, report, warn_truncated};
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
    /// Pictures, or folders of pictures
    #[arg(required = true, value_name = "IMG")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// A file of `crossalign compile`, in place of prompts
    #[arg(long, value_name = "FILE", conflicts_with_all =
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
        let views = self.views.views()?;
        let classifier = self.classifier()?;
        let (files, mut failed) = list_files(&self.images);
        let batch =
            if classifier.compiled().options.method == Method::Wca { classifier.model().devices() } else { BATCH };
        let bar = self.progress(files.len());
        let decode = self.decode.options();
        // The next batch is decoded while this one is classified.
        let (sender, batches) = mpsc::sync_channel(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let sender = sender;
                for paths in files.chunks(batch) {
                    let opened: Vec<_> = paths.iter().map(|path| (path, Picture::open(path, &decode))).collect();
                    if sender.send(opened).is_err() {
                        break; // the results could not be printed
                    }
                }
            });
            for opened in batches {
                let count = opened.len() as u64;
                failed |= !self.classify_batch(&classifier, opened, &views, &bar)?;
                bar.inc(count);
            }
            Ok::<_, Error>(())
        })?;
        bar.finish_and_clear();
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Prints the results of a batch; whether all of it has one.
    fn classify_batch(
        &self,
        classifier: &Classifier,
        opened: Vec<(&PathBuf, Result<Picture>)>,
        views: &Views,
        bar: &ProgressBar,
    ) -> Result<bool> {
        let (mut paths, mut pictures, mut whole) = (Vec::new(), Vec::new(), true);
        let mut fail = |error: &Error| {
            whole = false;
            bar.suspend(|| report(&error.to_string()));
        };
        for (path, picture) in opened {
            match picture {
                Ok(picture) => {
                    paths.push(path);
                    pictures.push(picture);
                }
                Err(error) => fail(&error),
            }
        }
        match classifier.classify_batch(&pictures.iter().collect::<Vec<_>>(), views) {
            Ok(results) => {
                let options = &classifier.compiled().options;
                let lines = paths.iter().zip(&results).map(|(path, result)| self.show(path, options, result));
                let lines: String = lines.collect();
                bar.suspend(|| print(&lines))?;
            }
            Err(error) => fail(&name_picture(error, paths.first().map_or(Path::new(""), |path| path), views)),
        }
        Ok(whole)
    }

    fn classifier(&self) -> Result<Classifier> {
        if let Some(path) = &self.classifier {
            let compiled = Compiled::open(path)?;
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

/// What is wrong with one picture's boxes is told with the picture's name.
pub(super) fn name_picture(error: Error, path: &Path, views: &Views) -> Error {
    match views {
        Views::Boxes(_) => error.in_file(path),
        Views::Sampled(_) => error,
    }
}

/// The pictures, with folders replaced by their files in order; whether one could not be listed.
fn list_files(images: &[PathBuf]) -> (Vec<PathBuf>, bool) {
    let (mut files, mut failed) = (Vec::new(), false);
    for image in images {
        if !image.is_dir() {
            files.push(image.clone());
            continue;
        }
        match list_folder(image) {
            Ok(listed) => files.extend(listed),
            Err(error) => {
                failed = true;
                report(&error.to_string());
            }
        }
    }
    (files, failed)
}

/// The files of a folder, without those whose name begins with a dot.
fn list_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.path().is_file() && !entry.file_name().to_string_lossy().starts_with('.') {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(Error::file(folder, "folder", "no files", "pictures"));
    }
    files.sort();
    Ok(files)
}
