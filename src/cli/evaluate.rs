//! `crossalign evaluate`

mod dataset;
mod journal;

use super::options::{DecodeArgs, Format, ModelArgs, PromptArgs, ViewArgs, read_prompts};
use super::pictures::{self, Listed, Unfinished};
use super::{about, exit, input, print, warn_truncated};
use crate::align::{Accuracy, CompileOptions, CompiledClassifier, Evaluator, Input, Method, Percentage, Prompts};
use crate::engine::{Model, Towers};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Picture, ViewSampling};
use crate::model::PictureViews;
use dataset::Sample;
use journal::{Journal, Known, Record};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Measure the accuracy of all methods on labelled pictures
///
/// A picture's views are encoded once, for clip, cupl, wca and, with --templates, clip-e. wca runs once a seed: the mean
/// and the standard deviation (of the sample) of these runs are given.
#[derive(clap::Args)]
#[command(mut_args(refuse_choices))]
pub(super) struct Args {
    /// A folder of class folders (DATA/CLASS/PICTURE), or a CSV list of path,class lines
    ///
    /// Classes are named as in the prompts; _ may stand for a space. Files in the folders that are no pictures are
    /// counted and left out. Paths are relative to the list; - reads it from standard input.
    data: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// JSON list of templates with {}: evaluates clip-e too
    #[arg(long, value_name = "FILE|-")]
    templates: Option<PathBuf>,
    #[command(flatten)]
    views: ViewArgs,
    /// Runs of wca, each with a seed of its own: --seed, --seed + 1, …
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000), value_name = "N")]
    seeds: u64,
    #[command(flatten)]
    decode: DecodeArgs,
    /// Keep each picture's result in this file, and go on from what is in it already
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Refuses the shared options `--method` and `--boxes`, since all methods run, on random crops.
fn refuse_choices(arg: clap::Arg) -> clap::Arg {
    if ["method", "boxes"].contains(&arg.get_id().as_str()) { arg.hide(true).conflicts_with("data") } else { arg }
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let own = [&self.data].into_iter().chain(&self.templates).map(PathBuf::as_path).collect();
        input::check(&[own, self.prompts.inputs()].concat())?;
        self.resume.as_deref().map_or(Ok(()), journal::check)?;
        let first = self.views.sampling()?;
        let seeds = (0..self.seeds).map(|i| first.seed.wrapping_add(i));
        let samplings: Vec<_> = seeds.map(|seed| ViewSampling { seed, ..first }).collect();
        // Bad prompts and lists are reported before a large model is read.
        let prompts = self.model.prompts(&self.prompts)?;
        let templates = self.templates(&prompts)?;
        let files = dataset::list(&self.data, prompts.classes())?;
        let model = self.model.load(Towers::Both)?;
        let evaluator = Evaluator::new(&model, &prompts, templates.as_ref(), &self.prompts.options(), &samplings)?;
        let compiled: Vec<&CompiledClassifier> =
            evaluator.classifiers().iter().map(|classifier| classifier.compiled()).collect();
        let truncated = compiled.iter().map(|compiled| compiled.truncated).max();
        warn_truncated(truncated.unwrap_or_default(), model.config().context);
        let parameters = self.parameters(&model, &compiled, &samplings)?;
        let mut journal = self.resume.as_ref().map(|path| Journal::open(path, &parameters)).transpose()?;

        let advice = match &self.resume {
            Some(journal) => format!("the same call goes on from {}", journal.display()),
            None => "with --resume the next call goes on from there".into(),
        };
        let unfinished = Unfinished::new(&files, self.format, &advice);
        let (known, options) = (journal.as_ref().map(|journal| journal.known.clone()), self.decode.options());
        let read = move |file: &mut Listed<Sample>| read(file, known.as_deref(), &options);
        let results = evaluator.stream(self.model.stream(&self.decode)).open(files, read).map(|(file, evaluation)| {
            let known = file.tag.known.clone().map(Ok);
            let found = known.unwrap_or_else(|| evaluation?.ranks(&file.tag.key.class));
            (file, found)
        });
        let (mut ranks, mut resumed) = (Vec::new(), 0);
        let (skipped, _) =
            pictures::each(results, &unfinished, about, |Listed { path, photograph, tag, .. }, found| {
                if tag.known.is_some() {
                    resumed += 1;
                } else {
                    self.model.warn_of_photograph(&path, photograph);
                    let record = Record { image: path.to_string_lossy().into(), key: tag.key, ranks: found.clone() };
                    journal.iter_mut().try_for_each(|journal| journal.add(&record))?;
                }
                ranks.push(found);
                Ok(())
            })?;
        if ranks.is_empty() {
            return Err(Error::file(&self.data, "data", "no picture that can be read", "at least one"));
        }
        let accuracies = Accuracy::of(&ranks)?;
        let classes = prompts.classes().len();
        print(match self.format {
            Format::Json => {
                let line = json!({
                    "data": self.data.to_string_lossy(), "classes": classes, "pictures": ranks.len(),
                    "skipped": skipped, "resumed": resumed, "methods": accuracies, "parameters": parameters,
                });
                format!("{line}\n")
            }
            Format::Text => {
                let (runs, views) = (samplings.len(), samplings[0].count);
                format!(
                    "{} pictures of {classes} classes, {skipped} skipped; wca: {views} views, {runs} seeds\n\n{}",
                    ranks.len(),
                    table(&accuracies)
                )
            }
        })?;
        Ok(exit(skipped > 0))
    }

    /// The templates, filled with the classes of the prompts.
    fn templates(&self, prompts: &Prompts) -> Result<Option<Prompts>> {
        let Some(path) = &self.templates else { return Ok(None) };
        let labels: Vec<String> = prompts.classes().iter().map(|class| class.name.clone()).collect();
        let templates = read_prompts(path, Some(&labels))?;
        if !templates.are_templates() {
            return Err(Error::file(path, "templates", "descriptions", "a JSON list of texts with {}"));
        }
        Ok(Some(templates))
    }

    /// All that the figures depend on besides the pictures. Structs are destructured whole, so that a new field does
    /// not compile until it is treated here.
    fn parameters(&self, model: &Model, compiled: &[&CompiledClassifier], samplings: &[ViewSampling]) -> Result<Value> {
        let options = self.prompts.options();
        let CompileOptions { method: _, score, reduction, keep_texts: _, image_scale, text_scale, template } = options;
        let DecodeOptions { exif_rotation, max_pixels } = self.decode.options();
        let ViewSampling { count, alpha, beta, seed: _ } = samplings[0];
        // The vectors or texts also depend on the tokenizer, the cleaning of texts, the precision and the device.
        let class_vectors = hash(compiled.iter().flat_map(|compiled| compiled.kept.numbers()));
        let prompts = |method| {
            let compiled = compiled.iter().find(|compiled| compiled.options.method == method);
            compiled.map(|compiled| &compiled.prompts)
        };
        Ok(json!({
            "model": model.fingerprint(), "class_vectors": class_vectors, "view_vector": hash(&view_vector(model)?),
            "prompts": prompts(Method::Cupl), "templates": prompts(Method::ClipE),
            "score": score, "reduction": reduction, "image_scale": image_scale, "text_scale": text_scale, "template": template,
            "views": count, "alpha": alpha, "beta": beta,
            "seeds": samplings.iter().map(|sampling| sampling.seed).collect::<Vec<_>>(),
            "exif_rotation": exif_rotation, "max_pixels": max_pixels,
        }))
    }
}

/// The file's content; an error, which nobody looks at, where an earlier run has its ranks.
fn read(file: &mut Listed<Sample>, known: Option<&Known>, options: &DecodeOptions) -> Result<Input> {
    let bytes = file.read(options)?;
    file.tag.key.content = format!("{:032x}", xxh3_128(&bytes));
    file.tag.known = known.and_then(|known| known.get(&file.tag.key).cloned());
    match file.tag.known {
        Some(_) => Err(Error::argument("picture", "ranks of an earlier run", "none")), // not looked at
        None => Ok(Input::Bytes(bytes)),
    }
}

/// The embedding of a fixed picture: it depends on every weight of the vision tower, which the fingerprint only
/// samples, on the precision and on the device.
fn view_vector(model: &Model) -> Result<Vec<f32>> {
    let side = model.config().image_size;
    let pixels = (0..3 * side * side).map(|i| (i * 37 % 251) as u8).collect(); // structure everywhere
    let picture = Picture::new(side, side, pixels)?;
    let plan = model.config().plan_views((side, side), &[])?;
    Ok(model.encode_views(&[PictureViews { picture: picture.as_rgb(), plan: &plan }], true)?.data)
}

fn hash<'a>(numbers: impl IntoIterator<Item = &'a f32>) -> String {
    let mut hash = Xxh3::new();
    numbers.into_iter().for_each(|number| hash.update(&number.to_le_bytes()));
    format!("{:032x}", hash.digest128())
}

/// The methods' names and figures, one a line.
fn table(accuracies: &[Accuracy]) -> String {
    let figure = |percentage: &Percentage| {
        let deviation = percentage.standard_deviation.map(|deviation| format!(" ± {deviation:.2}"));
        format!("{:6.2}{}", percentage.mean, deviation.unwrap_or_default())
    };
    let line = |method: &str, top1: &str, top5: &str| format!("{method:<8}{top1:<16}{top5}\n");
    let lines = accuracies.iter().map(|a| line(&name(a.method), &figure(&a.top1), &figure(&a.top5)));
    std::iter::once(line("method", "top-1 %", "top-5 %")).chain(lines).collect()
}

/// A method's name on the command line.
fn name(method: Method) -> String {
    json!(method).as_str().unwrap_or_default().to_string()
}
