//! Which views and which descriptions carried a class's score.

use super::classifier::{Classifier, Views, WeightedView};
use super::compile::{CompileOptions, CompiledClassifier, Method, Score};
use super::prompts::Class;
use super::ranking::best;
use super::texts::{Kept, Texts};
use crate::backend::Reduction;
use crate::block_on::block_on;
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::model::PictureViews;
use serde::Serialize;
use std::collections::HashMap;
use std::ops::Range;

/// A description and its weight in the score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightedText {
    /// The description.
    pub text: String,
    /// `vⱼ`; those of a class sum to 1.
    pub weight: f32,
    /// How many equal descriptions it stands for: 1 unless they were [merged](Explanation::merged).
    pub count: usize,
}

/// A view and a description, and what the two added to the score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Index of the view.
    pub view: usize,
    /// Index of the description.
    pub text: usize,
    /// `wᵢ pᵢⱼ fᵢ·gⱼ`
    pub contribution: f32,
}

/// WCA's score of one class by view and description: `Σᵢⱼ wᵢ pᵢⱼ sᵢⱼ` with `sᵢⱼ = fᵢ·gⱼ` (arXiv 2406.02915).
///
/// The [reduction](Reduction) gives a description's share `pᵢⱼ` in a view's similarity: with the mean it is `vⱼ`, else
/// `vⱼ` divided by the sum of `v` over the view's best descriptions, and 0 for the other ones. The sum is the paper's
/// score. The official score is this sum divided by the lengths of `Σ wᵢ fᵢ` and `Σ vⱼ gⱼ`, so both have the same
/// proportions.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    views: Vec<WeightedView>,
    texts: Vec<WeightedText>,
    similarities: Vec<f32>,
    shares: Vec<f32>,
    reduction: Reduction,
    truncated: usize,
}

impl Model {
    /// Decomposes WCA's score of one class. Only the reduction, the scales and the template of `options` are used.
    ///
    /// # Errors
    /// When an option is out of its range, the class has no descriptions, a box is not inside the picture, there are
    /// no local views, a text cannot be tokenised, a tower was not loaded, or memory is short.
    ///
    /// ```
    /// use crossalign::{Model, Picture, Prompts};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/models/transformers");
    /// # let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pictures/landscape.png");
    /// # let (model, picture) = (Model::load(folder, &Default::default())?, Picture::open(picture, &Default::default())?);
    /// let prompts = Prompts::from_json(r#"{"cat": ["whiskers", "pointed ears"]}"#)?;
    /// let explanation = model.explain(&picture, &prompts.classes()[0], &Default::default(), &Default::default())?;
    /// let best = explanation.best(1)[0];
    /// println!("{:?}: {:?}", explanation.views()[best.view].crop, explanation.texts()[best.text].text);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn explain(
        &self,
        picture: &Picture,
        class: &Class,
        views: &Views,
        options: &CompileOptions,
    ) -> Result<Explanation> {
        let options = CompileOptions { method: Method::Wca, score: Score::Paper, ..options.clone() };
        options.check()?;
        let (texts, truncated) = block_on(self.class_texts(std::slice::from_ref(class), &options))?;
        let explanation = block_on(self.explain_texts(picture, views, &options, &texts, texts.of_class(0)))?;
        Ok(Explanation { truncated, ..explanation })
    }

    async fn explain_texts(
        &self,
        picture: &Picture,
        views: &Views,
        options: &CompileOptions,
        texts: &Texts,
        class: Range<usize>,
    ) -> Result<Explanation> {
        let boxes = views.boxes(picture)?;
        if boxes.is_empty() {
            return Err(Error::argument("views", "0 local views", "at least 1 to explain"));
        }
        let plan = self.config().plan_views((picture.width(), picture.height()), &boxes)?;
        let (width, job) = (self.config().embed, PictureViews { picture: picture.as_rgb(), plan: &plan });
        let mut rows = self.engine().encode_views(&[job], true)?.await?;
        let f = Embeddings { width, data: rows.split_off(width) };
        let f0 = Embeddings { width, data: rows };
        let g = Embeddings { width, data: texts.embeddings.data[class.start * width..class.end * width].to_vec() };
        let weights = &texts.weights[class.clone()];
        let (offsets, scale) = ([0, f.len() as u32], options.image_softmax());
        let image_weights = self.engine().alignment_weights(&f, &f0, &offsets, scale)?.await?;
        let similarities = self.engine().cosines(&f, &g)?.await?;
        let text = |(text, &weight): (&String, &f32)| WeightedText { text: text.clone(), weight, count: 1 };
        Ok(Explanation {
            shares: similarities.chunks_exact(g.len()).flat_map(|of| shares(options.reduction, weights, of)).collect(),
            similarities,
            reduction: options.reduction,
            views: boxes.into_iter().zip(image_weights).map(|(crop, weight)| WeightedView { crop, weight }).collect(),
            texts: texts.texts[class].iter().zip(weights).map(text).collect(),
            truncated: 0,
        })
    }
}

impl Classifier {
    /// Decomposes WCA's score of one class with the texts that the classifier keeps: the vision tower is enough.
    ///
    /// # Errors
    /// When there is no such class, the classifier keeps no texts or is of another method than WCA, a box is not inside the
    /// picture, there are no local views, the vision tower was not loaded, or memory is short.
    pub fn explain(&self, picture: &Picture, class: &str) -> Result<Explanation> {
        block_on(self.explain_async(picture, class))
    }

    /// As [`Classifier::explain`], for a browser, where results arrive later. Natively it blocks.
    ///
    /// # Errors
    /// As [`Classifier::explain`].
    pub async fn explain_async(&self, picture: &Picture, class: &str) -> Result<Explanation> {
        let (texts, class) = self.compiled().texts_of(class)?;
        self.model().explain_texts(picture, self.views(), &self.compiled().options, texts, class).await
    }
}

impl CompiledClassifier {
    /// The kept texts of all classes, and the range of this class's.
    pub(crate) fn texts_of(&self, class: &str) -> Result<(&Texts, Range<usize>)> {
        let wrong = |found: &str, expected: &str| Error::argument("classifier", found, expected);
        if self.options.method != Method::Wca {
            return Err(wrong(&format!("the method {:?}", self.options.method), "Wca, whose score is explained"));
        }
        let Kept::Texts(texts) = &self.kept else {
            return Err(wrong("one vector a class", "the texts, which compile --keep-texts keeps"));
        };
        let found = self.classes.iter().position(|name| name == class);
        let found = found.ok_or_else(|| Error::argument("class", format!("{class:?}"), "a class of the classifier"))?;
        Ok((texts, texts.of_class(found)))
    }
}

/// The share of each description in a view's similarity with the class.
fn shares(reduction: Reduction, weights: &[f32], similarities: &[f32]) -> Vec<f32> {
    match reduction {
        Reduction::WeightedMean => weights.to_vec(),
        Reduction::BestMean(k) => {
            let best = best(similarities.iter().copied(), k);
            let total: f64 = best.iter().map(|&text| f64::from(weights[text])).sum();
            let mut shares = vec![0.0; weights.len()];
            best.into_iter().for_each(|text| shares[text] = (f64::from(weights[text]) / total) as f32);
            shares
        }
    }
}

impl Explanation {
    /// The local views with their weights `wᵢ`.
    pub fn views(&self) -> &[WeightedView] {
        &self.views
    }

    /// The descriptions with their weights `vⱼ`.
    pub fn texts(&self) -> &[WeightedText] {
        &self.texts
    }

    /// All `sᵢⱼ`, `[views, texts]` row-major.
    pub fn similarities(&self) -> &[f32] {
        &self.similarities
    }

    /// How a view's similarities with the descriptions are reduced.
    pub fn reduction(&self) -> Reduction {
        self.reduction
    }

    /// How many texts were longer than the model's context and lost their end; 0 from [`Classifier::explain`], whose
    /// texts [`CompiledClassifier::truncated`] counts.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// `sᵢⱼ`, a cosine.
    ///
    /// # Panics
    /// When there is no such view or text.
    pub fn similarity(&self, view: usize, text: usize) -> f32 {
        self.similarities[self.place(view, text)]
    }

    /// `pᵢⱼ`; those of a view sum to 1.
    ///
    /// # Panics
    /// As [`Explanation::similarity`].
    pub fn share(&self, view: usize, text: usize) -> f32 {
        self.shares[self.place(view, text)]
    }

    fn place(&self, view: usize, text: usize) -> usize {
        assert!(text < self.texts.len(), "text {text} of {}", self.texts.len());
        view * self.texts.len() + text
    }

    /// `wᵢ pᵢⱼ sᵢⱼ`
    ///
    /// # Panics
    /// As [`Explanation::similarity`].
    pub fn contribution(&self, view: usize, text: usize) -> f32 {
        self.views[view].weight * self.share(view, text) * self.similarity(view, text)
    }

    /// `Σⱼ pᵢⱼ sᵢⱼ`: how well the view fits the class.
    ///
    /// # Panics
    /// When there is no such view.
    pub fn view_similarity(&self, view: usize) -> f32 {
        sum((0..self.texts.len()).map(|text| (self.share(view, text), self.similarity(view, text))))
    }

    /// `Σᵢ wᵢ sᵢⱼ`: how well the description fits the picture.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text_similarity(&self, text: usize) -> f32 {
        sum((0..self.views.len()).map(|view| (self.views[view].weight, self.similarity(view, text))))
    }

    /// `wᵢ Σⱼ pᵢⱼ sᵢⱼ`: what the view added to the score.
    ///
    /// # Panics
    /// When there is no such view.
    pub fn view_contribution(&self, view: usize) -> f32 {
        self.views[view].weight * self.view_similarity(view)
    }

    /// `Σᵢ wᵢ pᵢⱼ sᵢⱼ`: what the description added to the score.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text_contribution(&self, text: usize) -> f32 {
        sum((0..self.views.len())
            .map(|view| (self.views[view].weight, self.share(view, text) * self.similarity(view, text))))
    }

    /// The paper's score: the sum of all contributions.
    pub fn score(&self) -> f32 {
        sum((0..self.views.len()).map(|view| (self.views[view].weight, self.view_similarity(view))))
    }

    /// The `n` views that added the most, best first; of equal ones the lower index.
    pub fn best_views(&self, n: usize) -> Vec<usize> {
        best((0..self.views.len()).map(|view| self.view_contribution(view)), n)
    }

    /// The `n` descriptions that added the most, best first; of equal ones the lower index.
    pub fn best_texts(&self, n: usize) -> Vec<usize> {
        best((0..self.texts.len()).map(|text| self.text_contribution(text)), n)
    }

    /// The `n` pairs that added the most, best first; of equal ones the lower view, then the lower description.
    pub fn best(&self, n: usize) -> Vec<Pair> {
        let texts = self.texts.len();
        let pair = |i| Pair { view: i / texts, text: i % texts, contribution: self.contribution(i / texts, i % texts) };
        best((0..self.similarities.len()).map(|i| pair(i).contribution), n).into_iter().map(pair).collect()
    }

    /// Merges equal descriptions into the first of them, adding weights and shares, for display. The score does not
    /// change.
    pub fn merged(&self) -> Self {
        // Of each distinct text its columns.
        let (mut equal, mut places) = (Vec::<Vec<usize>>::new(), HashMap::new());
        for (column, text) in self.texts.iter().enumerate() {
            let place = *places.entry(&text.text).or_insert(equal.len());
            if place == equal.len() {
                equal.push(Vec::new());
            }
            equal[place].push(column);
        }
        let text = |columns: &Vec<usize>| WeightedText {
            text: self.texts[columns[0]].text.clone(),
            weight: columns.iter().map(|&column| self.texts[column].weight).sum(),
            count: columns.iter().map(|&column| self.texts[column].count).sum(),
        };
        let merge = |matrix: &[f32], value: fn(&[f32], &[usize]) -> f32| {
            let rows = matrix.chunks_exact(self.texts.len());
            rows.flat_map(|row| equal.iter().map(move |columns| value(row, columns))).collect()
        };
        Self {
            views: self.views.clone(),
            texts: equal.iter().map(text).collect(),
            similarities: merge(&self.similarities, |row, columns| row[columns[0]]),
            shares: merge(&self.shares, |row, columns| columns.iter().map(|&column| row[column]).sum()),
            ..*self
        }
    }
}

/// `Σ weight · x`, summed in f64.
fn sum(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    terms.map(|(weight, x)| f64::from(weight) * f64::from(x)).sum::<f64>() as f32
}
