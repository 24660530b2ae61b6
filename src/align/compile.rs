//! Compiling prompts into a classifier that is saved without its model.

use super::prompts::{Class, Prompts};
use super::texts::{Kept, LEAST_WEIGHT, Texts};
use crate::backend::Reduction;
use crate::block_on::block_on;
use crate::engine::{Model, offsets};
use crate::error::{Error, Result};
use crate::options::with_fields;
use serde::{Deserialize, Serialize};

/// How views and texts make a score; the formulas are in [`align`](crate::align).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The global view against the label prompt.
    Clip,
    /// The global view against the mean of filled templates.
    ClipE,
    /// The global view against the mean of the descriptions.
    Cupl,
    /// Weighted local views against weighted descriptions.
    #[default]
    Wca,
}

/// Which of WCA's two scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// The authors' code: the cosine of the two weighted means.
    #[default]
    Official,
    /// The paper: the weighted mean of all cosines.
    Paper,
}

/// How a classifier is compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CompileOptions {
    /// The method.
    pub method: Method,
    /// WCA's form of the score.
    pub score: Score,
    /// How a class's descriptions are reduced.
    pub reduction: Reduction,
    /// Whether the classifier keeps its texts also where one vector a class is enough to score.
    pub keep_texts: bool,
    /// The logarithm of the views' softmax scale.
    pub image_scale: f32,
    /// The logarithm of the descriptions' softmax scale.
    pub text_scale: f32,
    /// The label prompt, `{}` where the class's name goes.
    pub template: String,
}

impl Default for CompileOptions {
    /// WCA's: the official score, weighted means, scales 4 and 2, `a photo of a {}.`
    fn default() -> Self {
        Self {
            method: Method::Wca,
            score: Score::Official,
            reduction: Reduction::WeightedMean,
            keep_texts: false,
            image_scale: 4.0,
            text_scale: 2.0,
            template: "a photo of a {}.".into(),
        }
    }
}

with_fields!(CompileOptions:
    with_method(method: Method),
    with_score(score: Score),
    with_reduction(reduction: Reduction),
    with_keep_texts(keep_texts: bool),
    with_image_scale(image_scale: f32),
    with_text_scale(text_scale: f32),
    with_template(template: impl Into<String>),
);

impl CompileOptions {
    /// The softmax scale of the views, `e^image_scale`.
    pub(super) fn image_softmax(&self) -> f32 {
        self.image_scale.exp()
    }

    /// Whether a class's folded vector is scaled to unit length.
    pub(super) fn unit_vectors(&self) -> bool {
        match self.method {
            Method::Clip => false, // one text's embedding, already of unit length
            Method::ClipE | Method::Cupl => true,
            Method::Wca => self.score == Score::Official,
        }
    }

    /// Whether the classifier stores its texts rather than one vector a class.
    pub(super) fn keeps_texts(&self) -> bool {
        self.keep_texts || self.reduction != Reduction::WeightedMean
    }

    /// Refuses options that are out of their range or do not go together.
    ///
    /// # Errors
    /// When a scale is not from -20 to 20, the template has no `{}`, the reduction is `best:0`, or the official score
    /// is asked for with a reduction other than the mean.
    pub fn check(&self) -> Result<()> {
        for (name, scale) in [("image scale", self.image_scale), ("text scale", self.text_scale)] {
            // e^20 is past any temperature in use, and far from overflow.
            if !(-20.0..=20.0).contains(&scale) {
                return Err(Error::argument(name, scale.to_string(), "a number from -20 to 20"));
            }
        }
        if !self.template.contains("{}") {
            return Err(Error::argument("template", format!("{:?}", self.template), "{} where the label goes"));
        }
        match self.reduction {
            Reduction::WeightedMean => Ok(()),
            Reduction::BestMean(0) => Err(Error::argument("reduction", "the best 0", "at least the best 1")),
            reduction if self.method == Method::Wca && self.score == Score::Official => {
                let why = "the official score divides by the length of the descriptions' weighted sum";
                Err(Error::argument("score", "official", format!("paper with the reduction {reduction}: {why}")))
            }
            Reduction::BestMean(_) => Ok(()),
        }
    }
}

/// A classifier without its model: what a classifier file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledClassifier {
    /// How it was compiled.
    pub options: CompileOptions,
    /// The classes' names.
    pub classes: Vec<String>,
    /// The texts, if the options keep them or the reduction is not the mean; else one vector a class.
    pub kept: Kept,
    /// [`Model::fingerprint`] of the model that it was compiled with.
    pub model: String,
    /// A hash of the classes and descriptions.
    pub prompts: String,
    /// How many texts were longer than the model's context and lost their end.
    pub truncated: usize,
}

impl Model {
    /// Encodes all prompts, and folds each class into one vector unless the options keep texts; the text tower is enough.
    ///
    /// # Errors
    /// As [`CompileOptions::check`]; when there are no classes, a class name is empty or duplicate, a class lacks the
    /// descriptions or templates that the method needs, a text cannot be tokenised, or the text tower was not loaded.
    pub fn compile_texts(&self, prompts: &Prompts, options: &CompileOptions) -> Result<CompiledClassifier> {
        block_on(self.compile_texts_async(prompts, options))
    }

    /// As [`Model::compile_texts`], for a browser.
    pub(super) async fn compile_texts_async(
        &self,
        prompts: &Prompts,
        options: &CompileOptions,
    ) -> Result<CompiledClassifier> {
        options.check()?;
        prompts.check()?;
        if options.method == Method::ClipE && !prompts.are_templates() {
            return Err(Error::argument("prompts", "descriptions", "a list of templates, which clip-e needs"));
        }
        let (texts, truncated) = self.class_texts(prompts.classes(), options).await?;
        let kept = match options.keeps_texts() {
            true => Kept::Texts(texts),
            false => Kept::Vectors(texts.folded(options.unit_vectors())),
        };
        Ok(CompiledClassifier {
            options: options.clone(),
            classes: prompts.classes().iter().map(|class| class.name.clone()).collect(),
            kept,
            model: self.fingerprint().into(),
            prompts: prompts_hash(prompts),
            truncated,
        })
    }

    /// Encodes and weighs what each class is compared with: its label prompt or its descriptions. Also returns how many
    /// texts were truncated.
    pub(super) async fn class_texts(&self, classes: &[Class], options: &CompileOptions) -> Result<(Texts, usize)> {
        let labels: Vec<String> = classes.iter().map(|class| options.template.replace("{}", &class.name)).collect();
        let of_class: Vec<&[String]> = match options.method {
            Method::Clip => labels.chunks(1).collect(),
            Method::ClipE | Method::Cupl | Method::Wca => {
                classes.iter().map(|class| class.descriptions.as_slice()).collect()
            }
        };
        if let Some(class) = of_class.iter().position(|texts| texts.is_empty()) {
            let expected = format!("at least one for the method {:?}", options.method);
            return Err(Error::argument(format!("class {:?}", classes[class].name), "no descriptions", expected));
        }
        let offsets = offsets(of_class.iter().map(|texts| texts.len()));
        let texts = of_class.concat();
        let encoded = self.encode_texts_async(&texts, true).await?;
        let (embeddings, mut truncated) = (encoded.embeddings, encoded.truncated);
        let weights: Vec<f32> = if options.method == Method::Wca {
            let labels = self.encode_texts_async(&labels, true).await?;
            truncated += labels.truncated;
            let scale = options.text_scale.exp();
            let weights = self.engine().alignment_weights(&embeddings, &labels.embeddings, &offsets, scale)?.await?;
            weights.into_iter().map(|weight| weight.clamp(LEAST_WEIGHT, 1.0)).collect()
        } else {
            of_class.iter().flat_map(|texts| vec![1.0 / texts.len() as f32; texts.len()]).collect()
        };
        Ok((Texts { texts, embeddings, weights, offsets }, truncated))
    }
}

fn prompts_hash(prompts: &Prompts) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for class in prompts.classes() {
        for text in std::iter::once(&class.name).chain(&class.descriptions) {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.update(&u64::MAX.to_le_bytes()); // no text is as long: a class ends
    }
    format!("{:032x}", hash.digest128())
}
