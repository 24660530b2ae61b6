//! `crossalign explain`

use super::destination::{Destination, is_stdout};
use super::options::{ClassifierArgs, DecodeArgs, Format, ModelArgs, PromptArgs, ViewArgs};
use super::{input, memory, name_picture, pictures, png, print, warn_truncated};
use crate::align::{Class, CompiledClassifier, Explanation, OUTLINES, Pair};
use crate::engine::Towers;
use crate::error::{Error, Result};
use crate::image::CropBox;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show which views and descriptions carried the WCA score of a class
///
/// Prints the paper's score Σ w v s, and the views, descriptions and pairs that added the most to it: w is the weight of
/// a view, v of a description, s their cosine. The official score is the same sum at another scale. With another --reduction
/// than the mean, a view's best descriptions alone share in the sum, v divided by their sum.
///
/// The PNG has the picture under a heat map. Each view spreads how much better than the mean view it fits the class,
/// fading towards its box's edges; the sum is stretched from the least (dark) to the most (bright), as the bar below
/// shows, so that colours of two pictures do not compare. It is as coarse as the views: smaller ones (--alpha 0.25 --beta
/// 0.5 --views 200) show more. The three views that added the most are outlined: cyan, white, green.
#[derive(clap::Args)]
#[command(mut_args(wca_only))]
pub(super) struct Args {
    /// The picture
    #[arg(value_name = "IMG|-")]
    image: PathBuf,
    /// The class to explain: one of the prompts, the labels or the classifier
    #[arg(long, value_name = "NAME")]
    class: String,
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
    /// How many views, descriptions and pairs to print; JSON has all views and descriptions
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The heat map to write, .png or without an extension
    #[arg(short, long, value_name = "PNG")]
    output: PathBuf,
}

/// Where the class's descriptions come from.
enum Source {
    /// Descriptions to encode.
    Prompts(Class),
    /// A classifier, which has the encoded descriptions of all classes.
    Classifier(CompiledClassifier),
}

/// Refuses the shared options `--method` and `--score`, since only WCA's score in the paper's form is explained.
fn wca_only(arg: clap::Arg) -> clap::Arg {
    match arg.get_id().as_str() {
        "method" => arg.hide(true).conflicts_with("image"),
        "score" => arg.hide(true).conflicts_with("image").default_value("paper"),
        _ => arg,
    }
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let own = [&*self.image].into_iter().chain(self.model.folder()).collect();
        let inputs = [own, self.classifier.inputs(), self.prompts.inputs(), self.views.inputs()].concat();
        input::check(&inputs)?;
        if is_stdout(&self.output) {
            return Err(Error::argument("output", "standard output, where the text goes", "a PNG file"));
        }
        // What cannot be read or written is reported before a large model is read.
        let output = Destination::new(&self.output, &["png"], &inputs)?;
        let views = self.views.views()?;
        let source = self.source()?;
        let columns = match &source {
            Source::Prompts(class) => class.descriptions.len(),
            Source::Classifier(compiled) => self.classifier.named(compiled.texts_of(&self.class))?.1.len(),
        };
        let rows = views.count();
        let bytes = (rows * columns) as u128 * (size_of::<Pair>() + 2 * size_of::<f32>()) as u128;
        memory::check(&format!("{rows} views by {columns} descriptions"), bytes)?;
        let (picture, photograph) = pictures::open(&self.image, &self.decode.options())?;
        self.model.warn_of_photograph(&self.image, photograph);
        let explanation = match source {
            Source::Prompts(class) => {
                let model = self.model.load(Towers::Both)?;
                let explanation = model.explain(&picture, &class, &views, &self.prompts.options());
                explanation.inspect(|explanation| warn_truncated(explanation.truncated(), model.config().context))
            }
            Source::Classifier(compiled) => {
                let classifier = self.model.load(Towers::Vision)?.into_classifier(compiled);
                self.classifier.named(classifier)?.with_views(views).explain(&picture, &self.class)
            }
        };
        let explanation = explanation.map_err(|error| name_picture(error, &self.image))?.merged();
        let png = png(&explanation.heat_map(&picture));
        output.write(&png.map_err(|error| Error::io(&self.output)(std::io::Error::other(error)))?)?;
        print(match self.format {
            Format::Text => self.text(&explanation),
            Format::Json => format!("{}\n", self.json(&explanation)),
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn source(&self) -> Result<Source> {
        if let Some(compiled) = self.classifier.read()? {
            return Ok(Source::Classifier(compiled));
        }
        let prompts = self.model.prompts(&self.prompts)?;
        let class = prompts.classes().iter().find(|class| class.name == self.class).cloned();
        let class =
            class.ok_or_else(|| Error::argument("class", format!("{:?}", self.class), "a class of the prompts"))?;
        Ok(Source::Prompts(class))
    }

    fn text(&self, explanation: &Explanation) -> String {
        let description = |text: usize| {
            let text = &explanation.texts()[text];
            if text.count > 1 { format!("{} (×{})", text.text, text.count) } else { text.text.clone() }
        };
        let view = |view: usize| {
            let CropBox { x, y, width, height } = explanation.views()[view].crop;
            format!("{view:2}: {width}×{height} at {x},{y}")
        };
        let mut out = format!("{}: {}: {:.4}\n", self.image.display(), self.class, explanation.score());

        out += "\ncontribution  weight  similarity  view\n";
        for (rank, i) in explanation.best_views(self.top).into_iter().enumerate() {
            let outline = OUTLINES.get(rank).map(|outline| format!(", {} outline", outline.name));
            let (weight, similarity) = (explanation.views()[i].weight, explanation.view_similarity(i));
            let what = view(i) + &outline.unwrap_or_default();
            out += &format!("{:12.4}  {weight:6.4}  {similarity:10.4}  {what}\n", explanation.view_contribution(i));
        }
        out += "\ncontribution  weight  similarity  description\n";
        for j in explanation.best_texts(self.top) {
            let (weight, similarity) = (explanation.texts()[j].weight, explanation.text_similarity(j));
            let what = description(j);
            out += &format!("{:12.4}  {weight:6.4}  {similarity:10.4}  {what}\n", explanation.text_contribution(j));
        }
        out += "\ncontribution  similarity  view and description\n";
        for pair in explanation.best(self.top) {
            let similarity = explanation.similarity(pair.view, pair.text);
            let what = format!("{}: {}", view(pair.view), description(pair.text));
            out += &format!("{:12.4}  {similarity:10.4}  {what}\n", pair.contribution);
        }
        out
    }

    fn json(&self, explanation: &Explanation) -> Value {
        let view = |i: usize| {
            json!({
                "box": explanation.views()[i].crop,
                "weight": explanation.views()[i].weight,
                "similarity": explanation.view_similarity(i),
                "contribution": explanation.view_contribution(i),
            })
        };
        let description = |j: usize| {
            json!({
                "text": explanation.texts()[j].text,
                "count": explanation.texts()[j].count,
                "weight": explanation.texts()[j].weight,
                "similarity": explanation.text_similarity(j),
                "contribution": explanation.text_contribution(j),
            })
        };
        let pairs = explanation.best(self.top).into_iter().map(|pair| {
            json!({
                "view": pair.view,
                "description": pair.text,
                "similarity": explanation.similarity(pair.view, pair.text),
                "contribution": pair.contribution,
            })
        });
        json!({
            "image": self.image.to_string_lossy(),
            "class": self.class,
            "score": explanation.score(),
            "reduction": explanation.reduction(),
            "views": (0..explanation.views().len()).map(view).collect::<Vec<_>>(),
            "descriptions": (0..explanation.texts().len()).map(description).collect::<Vec<_>>(),
            "pairs": pairs.collect::<Vec<_>>(),
        })
    }
}
