//! Comparing methods by their accuracy on labelled pictures.

use super::classifier::check_local;
use super::stream::{Hardware, Stream, StreamOptions};
use super::task::{self, Planned, Task};
use super::{Classification, Classifier, CompileOptions, Method, Prompts};
use crate::backend::Pending;
use crate::engine::{Embeddings, Model, offsets};
use crate::error::{Error, Result};
use crate::image::{CropBox, MAX_BOXES, Picture, ViewSampling};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// The ranks of a picture's true class with one method, 1 for the best score.
///
/// Of equal scores the class with the lower index is ahead, as in [`Classification::predictions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranks {
    /// The method.
    pub method: Method,
    /// One rank a run: one for each seed with WCA, one in all with the methods that draw nothing.
    pub ranks: Vec<usize>,
}

/// Classifiers of all methods over the same classes. A picture's views are encoded once and shared by them. Clones share the
/// classifiers.
#[derive(Clone, Debug)]
pub struct Evaluator {
    model: Model,
    classifiers: Vec<Classifier>,
    samplings: Vec<ViewSampling>,
}

impl Evaluator {
    /// Compiles `clip`, `clip-e` if there are `templates`, `cupl` and `wca`; `wca` has one run for each sampling.
    /// `options.method` is ignored.
    ///
    /// # Errors
    /// As [`Model::compile_texts`]; when the templates are filled with other classes than those of the prompts; when
    /// there is no sampling, or one without views or out of its range, or more than 100,000 views in all.
    pub fn new(
        model: &Model,
        prompts: &Prompts,
        templates: Option<&Prompts>,
        options: &CompileOptions,
        samplings: &[ViewSampling],
    ) -> Result<Self> {
        if samplings.is_empty() {
            return Err(Error::argument("seeds", "0", "at least 1"));
        }
        samplings.iter().try_for_each(|sampling| check_local(sampling.count))?;
        samplings.iter().try_for_each(ViewSampling::check)?;
        let views: usize = samplings.iter().map(|sampling| sampling.count).sum();
        if views > MAX_BOXES {
            let expected = format!("at most {MAX_BOXES}");
            return Err(Error::argument("views", format!("{views} in all {} runs", samplings.len()), expected));
        }
        let names = |prompts: &Prompts| prompts.classes().iter().map(|class| class.name.clone()).collect::<Vec<_>>();
        if templates.is_some_and(|templates| names(templates) != names(prompts)) {
            return Err(Error::argument("templates", "other classes", "the classes of the prompts"));
        }
        let methods = [
            (Method::Clip, Some(prompts)),
            (Method::ClipE, templates),
            (Method::Cupl, Some(prompts)),
            (Method::Wca, Some(prompts)),
        ];
        let compile = |(method, prompts): (Method, Option<&Prompts>)| {
            prompts.map(|prompts| model.compile(prompts, &CompileOptions { method, ..options.clone() }))
        };
        let classifiers = methods.into_iter().filter_map(compile).collect::<Result<_>>()?;
        Ok(Self { model: model.clone(), classifiers, samplings: samplings.to_vec() })
    }

    /// One classifier a method, in the order of the results.
    pub fn classifiers(&self) -> &[Classifier] {
        &self.classifiers
    }

    /// Ranks a picture's true class with every method.
    ///
    /// # Errors
    /// When there is no such class, the vision tower was not loaded, or memory is short.
    pub fn rank(&self, picture: &Picture, class: &str) -> Result<Vec<Ranks>> {
        self.evaluate_batch(&[picture])?[0].ranks(class)
    }

    /// Scores several pictures with every method; their views are encoded together.
    ///
    /// # Errors
    /// When the vision tower was not loaded, or memory is short.
    pub fn evaluate_batch(&self, pictures: &[&Picture]) -> Result<Vec<Evaluation>> {
        task::run(self, self.model.devices(), pictures)
    }

    /// Evaluates pictures as [`Evaluator::evaluate_batch`] does.
    pub fn stream(&self, options: StreamOptions) -> Stream<Evaluation> {
        Stream::new(Hardware::of(&self.model), options, self.views(), self.clone())
    }

    /// The number of a picture's views: the global one, and those of all runs.
    fn views(&self) -> usize {
        1 + self.samplings.iter().map(|sampling| sampling.count).sum::<usize>()
    }

    /// Scores `embeddings`, `[pictures, views, D]`, with every method on one of the model's devices.
    fn evaluate(&self, device: usize, embeddings: &[f32], boxes: &[Vec<CropBox>]) -> Result<Vec<Evaluation>> {
        let ends = offsets(self.samplings.iter().map(|sampling| sampling.count));
        let drawn: Vec<Range<usize>> = ends.windows(2).map(|run| run[0] as usize..run[1] as usize).collect();
        let mut evaluations = vec![Evaluation(Vec::new()); boxes.len()];
        for classifier in &self.classifiers {
            let method = classifier.compiled().options.method;
            let runs = if method == Method::Wca { drawn.as_slice() } else { std::slice::from_ref(&(0..0)) };
            for run in runs {
                let results = self.score(device, classifier, embeddings, boxes, run.clone())?;
                evaluations.iter_mut().zip(results).for_each(|(Evaluation(all), result)| all.push((method, result)));
            }
        }
        Ok(evaluations)
    }

    /// Scores pictures by their global views and the local views of one run.
    fn score(
        &self,
        device: usize,
        classifier: &Classifier,
        embeddings: &[f32],
        boxes: &[Vec<CropBox>],
        run: Range<usize>,
    ) -> Result<Vec<Classification>> {
        let width = self.model.config().embed;
        let views =
            |picture: &[f32]| [&picture[..width], &picture[(1 + run.start) * width..(1 + run.end) * width]].concat();
        let data = embeddings.chunks_exact(self.views() * width).flat_map(views).collect();
        let boxes: Vec<_> = boxes.iter().map(|boxes| boxes[run.clone()].to_vec()).collect();
        classifier.score_rows(device, &Embeddings { width, data }, &boxes)
    }
}

impl Task<Evaluation> for Evaluator {
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>> {
        let boxes: Result<Vec<_>> = self.samplings.iter().map(|sampling| sampling.boxes(picture.as_rgb())).collect();
        Planned::new(&self.model, picture, boxes?.concat())
    }

    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<Evaluation>>> {
        let boxes: Vec<Vec<CropBox>> = pictures.iter().map(|planned| planned.boxes.clone()).collect();
        let embeddings = self.model.engines()[device].encode_views(&task::jobs(pictures), true)?;
        Ok(embeddings.and_then(move |embeddings| self.evaluate(device, &embeddings, &boxes)))
    }
}

/// The scores of a picture with every method, one classification a run.
#[derive(Clone, Debug)]
pub struct Evaluation(Vec<(Method, Classification)>);

impl Evaluation {
    /// The ranks of the picture's true class.
    ///
    /// # Errors
    /// When there is no such class.
    pub fn ranks(&self, class: &str) -> Result<Vec<Ranks>> {
        let ranks = |runs: &[(Method, Classification)]| {
            let ranks = runs.iter().map(|(_, run)| place(run, class)).collect::<Result<_>>()?;
            Ok(Ranks { method: runs[0].0, ranks })
        };
        self.0.chunk_by(|(method, _), (next, _)| method == next).map(ranks).collect()
    }
}

/// The rank of a class, from 1.
fn place(result: &Classification, class: &str) -> Result<usize> {
    let place = result.predictions().iter().position(|prediction| prediction.class == class);
    place.map(|i| i + 1).ok_or_else(|| Error::argument("class", format!("{class:?}"), "a class of the prompts"))
}

/// How often a method was right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// The method.
    pub method: Method,
    /// The share of pictures whose true class came first.
    pub top1: Percentage,
    /// The share of pictures whose true class was among the first five.
    pub top5: Percentage,
}

/// A share of pictures in percent, over runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Percentage {
    /// The mean of the runs.
    pub mean: f64,
    /// The sample standard deviation of the runs (divisor `runs - 1`); none for a single run.
    pub standard_deviation: Option<f64>,
    /// One figure a run.
    pub runs: Vec<f64>,
}

impl Accuracy {
    /// The accuracies of all methods, from the ranks that [`Evaluator::rank`] gave for each picture; empty without
    /// pictures.
    ///
    /// # Errors
    /// When the pictures were ranked by different methods or numbers of runs.
    pub fn of(pictures: &[Vec<Ranks>]) -> Result<Vec<Self>> {
        let shape = |ranks: &[Ranks]| ranks.iter().map(|ranks| (ranks.method, ranks.ranks.len())).collect::<Vec<_>>();
        let Some(first) = pictures.first() else { return Ok(Vec::new()) };
        let shape_of_all = shape(first);
        if let Some(other) = pictures.iter().map(|ranks| shape(ranks)).find(|other| *other != shape_of_all) {
            return Err(Error::argument("ranks", format!("{other:?}"), format!("{shape_of_all:?}")));
        }
        let accuracy = |(at, (method, runs)): (usize, (Method, usize))| {
            let share = |run: usize, top: usize| {
                let right = pictures.iter().filter(|ranks| ranks[at].ranks[run] <= top).count();
                100.0 * right as f64 / pictures.len() as f64
            };
            let within = |top| Percentage::of((0..runs).map(|run| share(run, top)).collect());
            Self { method, top1: within(1), top5: within(5) }
        };
        Ok(shape_of_all.into_iter().enumerate().map(accuracy).collect())
    }
}

impl Percentage {
    fn of(runs: Vec<f64>) -> Self {
        let count = runs.len() as f64;
        let mean = runs.iter().sum::<f64>() / count;
        let squares: f64 = runs.iter().map(|x| (x - mean).powi(2)).sum();
        let standard_deviation = (runs.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Self { mean, standard_deviation, runs }
    }
}
