//! `crossalign classify`

use super::options::{ClassifierArgs, DecodeArgs, Format, ModelArgs, PromptArgs, ViewArgs};
use super::pictures::{self, Unfinished};
use super::{about, exit, input, print, report, warn_truncated};
use crate::align::{Classification, Classifier, CompileOptions, Method};
use crate::engine::Towers;
use crate::error::{Error, Result};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    #[command(flatten)]
    classifier: ClassifierArgs,
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
        let images = self.images.iter().map(PathBuf::as_path).collect();
        let own = [images, self.classifier.inputs(), self.prompts.inputs(), self.views.inputs()];
        input::check(&own.concat())?;
        let views = self.views.views()?;
        let classifier = self.classifier()?.with_views(views);
        let wca = classifier.compiled().options.method == Method::Wca;
        if wca && classifier.views().count() == 0 {
            return Err(Error::argument("views", "0 local views", "at least 1 for the method wca"));
        }
        let (files, errors) = pictures::list(&self.images, self.recursive);
        errors.iter().for_each(|error| report(&error.to_string()));
        let options = self.model.stream(&self.decode);
        let read = pictures::reader(options.decode);
        let results = classifier.stream(options).open(files.clone(), read);
        let unfinished = Unfinished::new(&files, self.format, "run again with these");
        let (failed, strays) = pictures::each(results, &unfinished, about, |file, result| {
            self.model.warn_of_photograph(&file.path, file.photograph);
            print(self.show(&file.path, &classifier.compiled().options, &result))
        })?;
        Ok(exit(failed > 0 || !errors.is_empty() || strays.fill_a_folder(&files)))
    }

    fn classifier(&self) -> Result<Classifier> {
        if let Some(compiled) = self.classifier.read()? {
            return self.classifier.named(self.model.load(Towers::Vision)?.into_classifier(compiled));
        }
        // Bad prompts are reported before a large model is read.
        let prompts = self.model.prompts(&self.prompts)?;
        let model = self.model.load(Towers::Both)?;
        let classifier = model.compile(&prompts, &self.prompts.options())?;
        warn_truncated(classifier.compiled().truncated, model.config().context);
        Ok(classifier)
    }

    fn show(&self, path: &Path, options: &CompileOptions, result: &Classification) -> String {
        let predictions = result.predictions();
        let predictions = &predictions[..predictions.len().min(self.top)];
        match self.format {
            Format::Text => {
                let lines = predictions.iter().map(|p| format!("  {:7.4}  {}\n", p.score, p.class));
                std::iter::once(format!("{}\n", path.display())).chain(lines).collect()
            }
            Format::Json => {
                let line = json!({
                    "image": path.to_string_lossy(),
                    "method": options.method,
                    "score": (options.method == Method::Wca).then_some(options.score),
                    "reduction": options.reduction,
                    "predictions": predictions,
                    "views": result.views(),
                });
                format!("{line}\n")
            }
        }
    }
}
