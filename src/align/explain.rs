//! Which views and which descriptions carried a class's score.

use super::classifier::{Views, WeightedView};
use super::compile::CompileOptions;
use super::prompts::Class;
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::model::ViewJob;

/// A description and its share in the score.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedText {
    /// The description.
    pub text: String,
    /// `vⱼ`; all sum to 1.
    pub weight: f32,
    /// How many equal descriptions it stands for: 1 unless they were [merged](Explanation::merged).
    pub count: usize,
}

/// A view and a description, and what the two added to the score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Index of the view.
    pub view: usize,
    /// Index of the description.
    pub text: usize,
    /// `wᵢ vⱼ fᵢ·gⱼ`
    pub contribution: f32,
}

/// WCA's score of one class, taken apart: `Σᵢⱼ wᵢ vⱼ sᵢⱼ` with `sᵢⱼ = fᵢ·gⱼ` (arXiv 2406.02915).
///
/// The sum is the paper's score. The official score is the same sum divided by the lengths of `Σ wᵢ fᵢ` and
/// `Σ vⱼ gⱼ`, so that every share of the sum holds for both.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    views: Vec<WeightedView>,
    texts: Vec<WeightedText>,
    similarities: Vec<f32>,
    truncated: usize,
}

impl Model {
    /// Takes the score of one class apart. Of `options` it uses the scales and the template.
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
    /// let prompts = Prompts::from_json(r#"{"cat": ["whiskers", "pointed ears"]}"#, None)?;
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
        options.check()?;
        if class.descriptions.is_empty() {
            return Err(Error::argument(format!("class {:?}", class.name), "no descriptions", "at least one"));
        }
        let boxes = views.boxes(picture)?;
        if boxes.is_empty() {
            return Err(Error::argument("views", "0 local views", "at least 1 to explain"));
        }
        let plan = self.config().plan_views((picture.width(), picture.height()), &boxes)?;
        let (f0, f) = split_first(self.encode_views(&[ViewJob { picture: picture.as_rgb(), plan: &plan }], true)?);
        let label = options.template.replace("{}", &class.name);
        let texts: Vec<&str> =
            std::iter::once(label.as_str()).chain(class.descriptions.iter().map(String::as_str)).collect();
        let encoded = self.encode_texts(&texts, true)?;
        let (g0, g) = split_first(encoded.embeddings);
        let image_weights = self.engine().alignment_weights(&f, &f0, &[0, f.len() as u32], options.image_softmax())?;
        let text_weights = self.engine().alignment_weights(&g, &g0, &[0, g.len() as u32], options.text_scale.exp())?;
        let text = |(text, weight): (&String, f32)| WeightedText { text: text.clone(), weight, count: 1 };
        Ok(Explanation {
            similarities: self.engine().cosines(&f, &g)?,
            views: boxes.into_iter().zip(image_weights).map(|(crop, weight)| WeightedView { crop, weight }).collect(),
            texts: class.descriptions.iter().zip(text_weights).map(text).collect(),
            truncated: encoded.truncated,
        })
    }
}

/// The anchor's row and the others.
fn split_first(rows: Embeddings) -> (Embeddings, Embeddings) {
    let Embeddings { width, mut data } = rows;
    let rest = data.split_off(width);
    (Embeddings { width, data }, Embeddings { width, data: rest })
}

impl Explanation {
    /// The local views with `w`.
    pub fn views(&self) -> &[WeightedView] {
        &self.views
    }

    /// The descriptions with `v`.
    pub fn texts(&self) -> &[WeightedText] {
        &self.texts
    }

    /// `s`, `[views, texts]` row-major.
    pub fn similarities(&self) -> &[f32] {
        &self.similarities
    }

    /// How many texts were longer than the model's context and lost their end.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// `sᵢⱼ`, a cosine.
    ///
    /// # Panics
    /// When there is no such view or text.
    pub fn similarity(&self, view: usize, text: usize) -> f32 {
        assert!(text < self.texts.len(), "text {text} of {}", self.texts.len());
        self.similarities[view * self.texts.len() + text]
    }

    /// `wᵢ vⱼ sᵢⱼ`
    ///
    /// # Panics
    /// As [`Explanation::similarity`].
    pub fn contribution(&self, view: usize, text: usize) -> f32 {
        self.views[view].weight * self.texts[text].weight * self.similarity(view, text)
    }

    /// `Σⱼ vⱼ sᵢⱼ`: how well the view fits the class.
    ///
    /// # Panics
    /// When there is no such view.
    pub fn view_similarity(&self, view: usize) -> f32 {
        sum((0..self.texts.len()).map(|text| (self.texts[text].weight, self.similarity(view, text))))
    }

    /// `Σᵢ wᵢ sᵢⱼ`: how well the description fits the picture.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text_similarity(&self, text: usize) -> f32 {
        sum((0..self.views.len()).map(|view| (self.views[view].weight, self.similarity(view, text))))
    }

    /// `wᵢ Σⱼ vⱼ sᵢⱼ`: what the view added to the score.
    ///
    /// # Panics
    /// When there is no such view.
    pub fn view_contribution(&self, view: usize) -> f32 {
        self.views[view].weight * self.view_similarity(view)
    }

    /// `vⱼ Σᵢ wᵢ sᵢⱼ`: what the description added to the score.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn text_contribution(&self, text: usize) -> f32 {
        self.texts[text].weight * self.text_similarity(text)
    }

    /// The paper's score: the sum of all contributions.
    pub fn score(&self) -> f32 {
        sum((0..self.views.len()).map(|view| (self.views[view].weight, self.view_similarity(view))))
    }

    /// The `n` views that added the most, best first; of equal ones the lower index.
    pub fn best_views(&self, n: usize) -> Vec<usize> {
        best((0..self.views.len()).map(|view| (view, self.view_contribution(view))), n)
    }

    /// The `n` descriptions that added the most, best first; of equal ones the lower index.
    pub fn best_texts(&self, n: usize) -> Vec<usize> {
        best((0..self.texts.len()).map(|text| (text, self.text_contribution(text))), n)
    }

    /// The `n` pairs that added the most, best first; of equal ones the lower view, then the lower description.
    pub fn best(&self, n: usize) -> Vec<Pair> {
        let texts = self.texts.len();
        let pair = |i| Pair { view: i / texts, text: i % texts, contribution: self.contribution(i / texts, i % texts) };
        best((0..self.similarities.len()).map(|i| (i, pair(i).contribution)), n).into_iter().map(pair).collect()
    }

    /// The same with equal descriptions as one, in the place of the first, their weights added: to show. The score
    /// stays.
    pub fn merged(&self) -> Self {
        let mut texts: Vec<WeightedText> = Vec::new();
        let mut columns = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (column, text) in self.texts.iter().enumerate() {
            let place = *places.entry(&text.text).or_insert(texts.len());
            match texts.get_mut(place) {
                Some(first) => {
                    first.weight += text.weight;
                    first.count += text.count;
                }
                None => {
                    texts.push(text.clone());
                    columns.push(column);
                }
            }
        }
        let rows = self.similarities.chunks_exact(self.texts.len());
        let similarities = rows.flat_map(|row| columns.iter().map(|&column| row[column])).collect();
        Self { views: self.views.clone(), texts, similarities, truncated: self.truncated }
    }
}

/// `Σ weight · x`, summed in f64.
fn sum(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    terms.map(|(weight, x)| f64::from(weight) * f64::from(x)).sum::<f64>() as f32
}

/// The indices of the `n` largest values, largest first; of equal ones the lower index.
fn best(values: impl Iterator<Item = (usize, f32)>, n: usize) -> Vec<usize> {
    let mut values: Vec<(usize, f32)> = values.collect();
    // Stable: ties keep the lower index first. Adding 0 makes −0 and 0 a tie.
    values.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)));
    values.into_iter().take(n).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::CropBox;

    /// Views and texts of equal weight, with these cosines.
    fn explanation(similarities: [[f32; 3]; 3]) -> Explanation {
        let view = |i| WeightedView { crop: CropBox::new(i, 0, 1, 1), weight: 0.25 };
        let text = |text: &str| WeightedText { text: text.into(), weight: 0.25, count: 1 };
        Explanation {
            views: [0, 1, 2].map(view).to_vec(),
            texts: ["a", "b", "c"].map(text).to_vec(),
            similarities: similarities.concat(),
            truncated: 0,
        }
    }

    #[test]
    fn of_equals_the_lower_index_is_the_best() {
        let pairs = |explanation: &Explanation| {
            explanation.best(9).iter().map(|pair| (pair.view, pair.text)).collect::<Vec<_>>()
        };
        let all: Vec<(usize, usize)> = (0..3).flat_map(|view| (0..3).map(move |text| (view, text))).collect();
        // −0 and 0 are equal.
        for zeros in [[[0.0; 3]; 3], [[-0.0; 3]; 3], [[-0.0, 0.0, -0.0], [0.0, -0.0, 0.0], [0.0, -0.0, -0.0]]] {
            let explanation = explanation(zeros);
            assert_eq!(explanation.best_views(3), [0, 1, 2]);
            assert_eq!(explanation.best_texts(3), [0, 1, 2]);
            assert_eq!(pairs(&explanation), all);
        }
        let explanation = explanation([[-0.5, -0.0, 0.0], [0.5, 0.0, -0.0], [-0.5, 0.0, -0.0]]);
        assert_eq!(explanation.best_views(2), [1, 0]);
        assert_eq!(explanation.best_texts(3), [1, 2, 0]);
        assert_eq!(pairs(&explanation)[..3], [(1, 0), (0, 1), (0, 2)]);
        assert_eq!(pairs(&explanation)[7..], [(0, 0), (2, 0)]);
    }
}
