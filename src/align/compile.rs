//! From prompts to one vector a class.

use super::prompts::Prompts;
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
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
pub struct CompileOptions {
    /// The method.
    pub method: Method,
    /// WCA's form of the score.
    pub score: Score,
    /// The logarithm of the views' softmax scale.
    pub image_scale: f32,
    /// The logarithm of the descriptions' softmax scale.
    pub text_scale: f32,
    /// The label prompt, `{}` where the class's name goes.
    pub template: String,
}

impl Default for CompileOptions {
    /// WCA's: the official score, scales 4 and 2, `a photo of a {}.`
    fn default() -> Self {
        Self {
            method: Method::Wca,
            score: Score::Official,
            image_scale: 4.0,
            text_scale: 2.0,
            template: "a photo of a {}.".into(),
        }
    }
}

impl CompileOptions {
    /// The softmax scale of the views, `e^image_scale`.
    pub(super) fn image_softmax(&self) -> f32 {
        self.image_scale.exp()
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, scale) in [("image scale", self.image_scale), ("text scale", self.text_scale)] {
            // e^20 is past any temperature in use, and far from overflow.
            if !(-20.0..=20.0).contains(&scale) {
                return Err(Error::argument(name, scale.to_string(), "a number from -20 to 20"));
            }
        }
        if !self.template.contains("{}") {
            return Err(Error::argument("template", format!("{:?}", self.template), "{} where the label goes"));
        }
        Ok(())
    }
}

/// A classifier without its model: what a classifier file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// How it was compiled.
    pub options: CompileOptions,
    /// The classes' names.
    pub classes: Vec<String>,
    /// One vector a class, `[classes, D]`.
    pub vectors: Embeddings,
    /// [`Model::fingerprint`] of the model that it was compiled with.
    pub model: String,
    /// A hash of the classes and descriptions.
    pub prompts: String,
    /// How many texts were longer than the model's context and lost their end.
    pub truncated: usize,
}

impl Model {
    /// Encodes all prompts and folds each class into one vector; the text tower is enough.
    ///
    /// # Errors
    /// When an option is out of its range, the prompts do not have what the method needs, a text cannot be tokenised,
    /// or the text tower was not loaded.
    pub fn compile_texts(&self, prompts: &Prompts, options: &CompileOptions) -> Result<Compiled> {
        options.check()?;
        if options.method == Method::ClipE && !prompts.from_templates() {
            return Err(Error::argument("prompts", "descriptions", "a list of templates, which clip-e needs"));
        }
        let (vectors, truncated) = match options.method {
            Method::Clip => {
                let labels = self.encode_texts(&label_prompts(prompts, options), true)?;
                (labels.embeddings, labels.truncated)
            }
            Method::ClipE | Method::Cupl | Method::Wca => self.fold_descriptions(prompts, options)?,
        };
        Ok(Compiled {
            options: options.clone(),
            classes: prompts.classes().iter().map(|class| class.name.clone()).collect(),
            vectors,
            model: self.fingerprint().into(),
            prompts: prompts_hash(prompts),
            truncated,
        })
    }

    /// One vector a class from its descriptions, and the number of truncated texts.
    fn fold_descriptions(&self, prompts: &Prompts, options: &CompileOptions) -> Result<(Embeddings, usize)> {
        let classes = prompts.classes();
        if let Some(class) = classes.iter().find(|class| class.descriptions.is_empty()) {
            let method = options.method;
            let expected = format!("at least one for the method {method:?}");
            return Err(Error::argument(format!("class {:?}", class.name), "no descriptions", expected));
        }
        let descriptions: Vec<&str> =
            classes.iter().flat_map(|class| &class.descriptions).map(String::as_str).collect();
        let mut offsets = vec![0u32];
        offsets.extend(classes.iter().scan(0, |end, class| {
            *end += class.descriptions.len() as u32;
            Some(*end)
        }));
        let described = self.encode_texts(&descriptions, true)?;
        let mut truncated = described.truncated;
        let weights = if options.method == Method::Wca {
            let labels = self.encode_texts(&label_prompts(prompts, options), true)?;
            truncated += labels.truncated;
            self.engine().alignment_weights(
                &described.embeddings,
                &labels.embeddings,
                &offsets,
                options.text_scale.exp(),
            )?
        } else {
            let uniform = |class: &super::Class| vec![1.0 / class.descriptions.len() as f32; class.descriptions.len()];
            classes.iter().flat_map(uniform).collect()
        };
        let mut vectors = Vec::with_capacity(classes.len() * described.embeddings.width);
        for bounds in offsets.windows(2) {
            let texts = bounds[0] as usize..bounds[1] as usize;
            vectors.extend(weighted_sum(&described.embeddings, texts.clone(), &weights[texts]));
        }
        let mut vectors = Embeddings { width: described.embeddings.width, data: vectors };
        if options.method != Method::Wca || options.score == Score::Official {
            vectors.data.chunks_exact_mut(vectors.width).for_each(make_unit);
        }
        Ok((vectors, truncated))
    }
}

fn label_prompts(prompts: &Prompts, options: &CompileOptions) -> Vec<String> {
    prompts.classes().iter().map(|class| options.template.replace("{}", &class.name)).collect()
}

/// `Σ weight · row` over some rows, summed in f64.
pub(super) fn weighted_sum(rows: &Embeddings, range: std::ops::Range<usize>, weights: &[f32]) -> Vec<f32> {
    let mut sum = vec![0f64; rows.width];
    for (row, &weight) in range.zip(weights) {
        sum.iter_mut().zip(rows.row(row)).for_each(|(sum, &x)| *sum += f64::from(weight) * f64::from(x));
    }
    sum.into_iter().map(|x| x as f32).collect()
}

/// The Euclidean length of a vector.
pub(super) fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32
}

/// Divides by the length; the zero vector stays.
fn make_unit(vector: &mut [f32]) {
    let length = length(vector).max(1e-12); // as PyTorch's F.normalize
    vector.iter_mut().for_each(|x| *x /= length);
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
