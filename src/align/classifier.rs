//! Classifying pictures with a compiled classifier on a model's devices.

use super::compile::{CompileOptions, CompiledClassifier, Method, Score};
use super::prompts::Prompts;
use super::ranking::best;
use super::stream::{Hardware, Stream, StreamOptions};
use super::task::{self, Planned, Task};
use super::texts::Kept;
use crate::backend::{Pending, Reduction};
use crate::block_on::block_on;
use crate::engine::{Embeddings, Model, Scorer, Scores, Scoring};
use crate::error::{Error, Result};
use crate::image::{CropBox, Picture, ViewSampling};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Which local views are cut from each picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Views {
    /// Random square crops.
    Sampled(ViewSampling),
    /// The same boxes in every picture.
    Boxes(Vec<CropBox>),
}

impl Default for Views {
    fn default() -> Self {
        Self::Sampled(ViewSampling::default())
    }
}

impl Views {
    /// The number of local views of a picture.
    pub fn count(&self) -> usize {
        match self {
            Self::Sampled(sampling) => sampling.count,
            Self::Boxes(boxes) => boxes.len(),
        }
    }

    /// The boxes of a picture's local views.
    pub(super) fn boxes(&self, picture: &Picture) -> Result<Vec<CropBox>> {
        match self {
            Self::Sampled(sampling) => sampling.boxes(picture.as_rgb()),
            Self::Boxes(boxes) => Ok(boxes.clone()),
        }
    }
}

/// A local view and its weight in the score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WeightedView {
    /// Its box, in pixels of the decoded picture.
    #[serde(rename = "box")]
    pub crop: CropBox,
    /// `wᵢ`; those of a picture sum to 1.
    pub weight: f32,
}

/// A class and its score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction<'a> {
    /// The class's name.
    pub class: &'a str,
    /// A cosine; with the paper's score or a reduction other than the mean, a mean of cosines.
    pub score: f32,
}

/// The scores of a picture. Serialised as its `predictions` and `views`.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    classes: Arc<[String]>,
    scores: Vec<f32>,
    views: Vec<WeightedView>,
}

impl Classification {
    /// The scores, in the order of the classes.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The local views with their weights; none unless the method is WCA.
    pub fn views(&self) -> &[WeightedView] {
        &self.views
    }

    /// Classes and scores, best first; of equal scores the lower index wins.
    pub fn predictions(&self) -> Vec<Prediction<'_>> {
        let order = best(self.scores.iter().copied(), usize::MAX);
        order.into_iter().map(|i| Prediction { class: &self.classes[i], score: self.scores[i] }).collect()
    }
}

impl Serialize for Classification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Classification", 2)?;
        fields.serialize_field("predictions", &self.predictions())?;
        fields.serialize_field("views", &self.views)?;
        fields.end()
    }
}

/// A model and the classes it tells apart. Clones share both.
#[derive(Clone)]
pub struct Classifier {
    model: Model,
    views: Views,
    compiled: Arc<CompiledClassifier>,
    classes: Arc<[String]>,
    /// One for each of the model's devices.
    scorers: Arc<[Box<dyn Scorer>]>,
}

impl Model {
    /// Compiles prompts into a classifier: [`Model::compile_texts`], then [`Model::into_classifier`].
    ///
    /// # Errors
    /// As [`Model::compile_texts`].
    pub fn compile(&self, prompts: &Prompts, options: &CompileOptions) -> Result<Classifier> {
        block_on(self.compile_async(prompts, options))
    }

    /// As [`Model::compile`], for a browser, where results arrive later. Natively it blocks.
    ///
    /// # Errors
    /// As [`Model::compile_texts`].
    pub async fn compile_async(&self, prompts: &Prompts, options: &CompileOptions) -> Result<Classifier> {
        self.clone().into_classifier(self.compile_texts_async(prompts, options).await?)
    }

    /// Joins a compiled classifier with the model it was compiled with; the vision tower is enough.
    ///
    /// # Errors
    /// When it was compiled with another model, or its vectors or texts do not match its options and classes.
    pub fn into_classifier(self, compiled: CompiledClassifier) -> Result<Classifier> {
        if compiled.model != self.fingerprint() {
            let found = format!("one compiled with model {}", compiled.model);
            return Err(Error::argument("classifier", found, format!("model {}", self.fingerprint())));
        }
        let (options, count) = (&compiled.options, compiled.classes.len());
        options.check()?;
        compiled.kept.check(count)?;
        let (width, embed) = (compiled.kept.rows().width, self.config().embed);
        if width != embed {
            return Err(Error::argument("classifier", format!("vectors of {width}"), format!("vectors of {embed}")));
        }
        let wca = options.method == Method::Wca;
        let view_scale = wca.then(|| options.image_softmax());
        let (reduction, unit) = (options.reduction, wca && options.score == Score::Official);
        // The weighted mean is linear in the texts: one folded vector a class, of weight 1, gives the same score.
        let (ones, each) = (vec![1.0; count], (0..=count as u32).collect::<Vec<_>>());
        let folded;
        let (embeddings, weights, offsets) = match (&compiled.kept, reduction) {
            (Kept::Vectors(vectors), Reduction::WeightedMean) => (vectors, &ones, &each),
            (Kept::Texts(texts), Reduction::WeightedMean) => {
                folded = texts.folded(options.unit_vectors());
                (&folded, &ones, &each)
            }
            (Kept::Texts(texts), _) => (&texts.embeddings, &texts.weights, &texts.offsets),
            (Kept::Vectors(_), _) => {
                let expected = format!("texts, for the reduction {reduction}");
                return Err(Error::argument("classifier", "one vector a class", expected));
            }
        };
        let scoring = Scoring { embeddings, weights, offsets, reduction, view_scale, unit };
        let scorers = self.engines().iter().map(|engine| engine.clone().scorer(&scoring)).collect::<Result<_>>()?;
        let (views, classes) = (Views::default(), compiled.classes.as_slice().into());
        Ok(Classifier { model: self, views, classes, compiled: compiled.into(), scorers })
    }
}

impl Classifier {
    /// The classifier without its model, to save.
    pub fn compiled(&self) -> &CompiledClassifier {
        &self.compiled
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn is_wca(&self) -> bool {
        self.compiled.options.method == Method::Wca
    }

    /// Replaces the local views, by default WCA's 60 random crops.
    ///
    /// ```
    /// use crossalign::image::ViewSampling;
    /// use crossalign::{Model, Picture, Prompts, Views};
    /// # let (folder, picture) = ("tests/golden/models/transformers", "tests/golden/pictures/landscape.png");
    /// let prompts = Prompts::from_iter([("cat", ["whiskers"]), ("rocket", ["flames"])]);
    /// let classifier = Model::load(folder, &Default::default())?.compile(&prompts, &Default::default())?;
    /// let few = Views::Sampled(ViewSampling { count: 5, ..Default::default() });
    /// let result = classifier.with_views(few).classify(&Picture::open(picture, &Default::default())?)?;
    /// assert_eq!(result.views().len(), 5);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    #[must_use]
    pub fn with_views(mut self, views: Views) -> Self {
        self.views = views;
        self
    }

    /// The local views of each picture.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Scores a picture.
    ///
    /// # Errors
    /// As [`Classifier::classify_batch`].
    pub fn classify(&self, picture: &Picture) -> Result<Classification> {
        block_on(self.classify_async(picture))
    }

    /// As [`Classifier::classify`], for a browser, where results arrive later. Natively it blocks.
    ///
    /// # Errors
    /// As [`Classifier::classify_batch`].
    pub async fn classify_async(&self, picture: &Picture) -> Result<Classification> {
        let planned = [self.plan(Cow::Borrowed(picture))?];
        Ok(self.submit(0, &planned)?.await?.swap_remove(0))
    }

    /// Scores several pictures, whose views are encoded together. A picture's result is the same in any batch.
    ///
    /// # Errors
    /// When a box is not inside a picture, there are no local views for a method that needs them, the vision tower
    /// was not loaded, or memory is short.
    pub fn classify_batch(&self, pictures: &[&Picture]) -> Result<Vec<Classification>> {
        task::run(self, self.model.devices(), pictures)
    }

    /// Classifies pictures as [`Classifier::classify_batch`] does, batch-invariant: bit for bit as each picture alone.
    ///
    /// ```
    /// use crossalign::{Model, Prompts};
    /// # let (folder, picture) = ("tests/golden/models/transformers", "tests/golden/pictures/landscape.png");
    /// let prompts = Prompts::from_json(r#"{"cat": ["whiskers"], "rocket": ["flames"]}"#)?;
    /// let classifier = Model::load(folder, &Default::default())?.compile(&prompts, &Default::default())?;
    /// for (path, result) in classifier.stream(Default::default()).files([picture, "nowhere.png"]) {
    ///     match result {
    ///         Ok(result) => println!("{}: {}", path.display(), result.predictions()[0].class),
    ///         Err(error) => println!("{error}"), // and on with the next picture
    ///     }
    /// }
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn stream(&self, options: StreamOptions) -> Stream<Classification> {
        let local = if self.is_wca() { self.views.count() } else { 0 };
        Stream::new(Hardware::of(&self.model), options, 1 + local, self.clone())
    }

    /// Splits the scores and view weights of a batch into one classification a picture.
    fn classifications(&self, scores: Scores, boxes: &[Vec<CropBox>]) -> Vec<Classification> {
        let mut weights = scores.weights.into_iter();
        let rows = scores.scores.chunks_exact(self.classes.len()).zip(boxes);
        rows.map(|(scores, boxes)| {
            let views = boxes.iter().zip(&mut weights).map(|(&crop, weight)| WeightedView { crop, weight }).collect();
            Classification { classes: self.classes.clone(), scores: scores.to_vec(), views }
        })
        .collect()
    }

    /// Scores a picture by its encoded views, `[1 + boxes, D]` and of unit length: row 0 is the global view, then comes
    /// one row a box. Methods other than WCA read row 0 alone, so that one encoding serves all methods.
    ///
    /// # Errors
    /// When the embeddings' width is not the model's, their rows are not one more than the boxes, there are no boxes
    /// for WCA, or memory is short.
    pub fn score_views(&self, embeddings: &Embeddings, boxes: &[CropBox]) -> Result<Classification> {
        let (width, local) = (self.model.config().embed, boxes.len());
        if embeddings.width != width || embeddings.data.len() != (1 + local) * width {
            let found = format!("{} numbers in rows of {}", embeddings.data.len(), embeddings.width);
            return Err(Error::argument("embeddings", found, format!("{} rows of {width}", 1 + local)));
        }
        let mut scored = Vec::new();
        if self.is_wca() {
            check_local(local)?;
            scored = boxes.to_vec();
        }
        let rows = Embeddings { width, data: embeddings.data[..(1 + scored.len()) * width].to_vec() };
        Ok(self.score_rows(0, &rows, &[scored])?.swap_remove(0))
    }

    /// Scores encoded views on one of the model's devices: per picture the row of the global view, then one a box.
    pub(super) fn score_rows(
        &self,
        device: usize,
        rows: &Embeddings,
        boxes: &[Vec<CropBox>],
    ) -> Result<Vec<Classification>> {
        let views: Vec<usize> = boxes.iter().map(|boxes| 1 + boxes.len()).collect();
        Ok(self.classifications(self.scorers[device].score_rows(rows, &views)?, boxes))
    }
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, views, compiled, .. } = self;
        let mut classifier = f.debug_struct("Classifier");
        classifier.field("model", model).field("views", views).field("compiled", compiled).finish_non_exhaustive()
    }
}

impl Task<Classification> for Classifier {
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>> {
        let mut boxes = Vec::new();
        if self.is_wca() {
            boxes = self.views.boxes(&picture)?;
            check_local(boxes.len())?;
        }
        Planned::new(&self.model, picture, boxes)
    }

    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<Classification>>> {
        let boxes: Vec<Vec<CropBox>> = pictures.iter().map(|planned| planned.boxes.clone()).collect();
        let scores = self.scorers[device].score(&task::jobs(pictures))?;
        Ok(scores.map(move |scores| self.classifications(scores, &boxes)))
    }
}

/// Refuses a picture without local views, which WCA cannot score.
pub(super) fn check_local(views: usize) -> Result<()> {
    if views == 0 {
        return Err(Error::argument("views", "0 local views", "at least 1 for the method wca"));
    }
    Ok(())
}
