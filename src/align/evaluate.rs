//! Methods compared on labelled pictures.

use super::stream::{Devices, Stream, StreamOptions};
use super::{Classification, Classifier, CompileOptions, Method, Prompts};
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
use crate::image::{CropBox, MAX_BOXES, Picture, ViewSampling};
use crate::model::ViewJob;
use serde::{Deserialize, Serialize};

/// The place of a picture's true class among all, 1 for the best.
///
/// Of equal scores the class with the lower index is ahead, as in [`Classification::predictions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranks {
    /// The method.
    pub method: Method,
    /// One rank a run: one for each seed with WCA, one in all with the methods that draw nothing.
    pub ranks: Vec<usize>,
}

/// Classifiers of all methods over the same classes. A picture's views are encoded once and shared by them.
pub struct Evaluator {
    model: Model,
    classifiers: Vec<Classifier>,
    samplings: Vec<ViewSampling>,
}

impl Evaluator {
    /// Compiles `clip`, `clip-e` if there are `templates`, `cupl` and `wca`; `wca` has one run for each sampling.
    /// The method in `options` is not looked at.
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
        if samplings.iter().any(|sampling| sampling.count == 0) {
            return Err(Error::argument("views", "0 local views", "at least 1 for the method wca"));
        }
        samplings.iter().try_for_each(ViewSampling::check)?;
        let views: usize = samplings.iter().map(|sampling| sampling.count).sum();
        if views > MAX_BOXES {
            let expected = format!("at most {MAX_BOXES}");
            return Err(Error::argument("views", format!("{views} in all {} runs", samplings.len()), expected));
        }
        if let Some(templates) = templates
            && !templates
                .classes()
                .iter()
                .map(|class| &class.name)
                .eq(prompts.classes().iter().map(|class| &class.name))
        {
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

    /// Scores several pictures with every method; views of all are encoded together.
    ///
    /// # Errors
    /// When the vision tower was not loaded, or memory is short.
    pub fn evaluate_batch(&self, pictures: &[&Picture]) -> Result<Vec<Evaluation<'_>>> {
        let boxes = |picture: &&Picture| -> Result<Vec<Vec<CropBox>>> {
            self.samplings.iter().map(|sampling| sampling.boxes(picture.as_rgb())).collect()
        };
        let boxes = pictures.iter().map(boxes).collect::<Result<Vec<_>>>()?;
        let plan = |(picture, boxes): (&&Picture, &Vec<Vec<CropBox>>)| {
            self.model.config().plan_views((picture.width(), picture.height()), &boxes.concat())
        };
        let plans = pictures.iter().zip(&boxes).map(plan).collect::<Result<Vec<_>>>()?;
        let job = |(picture, plan)| ViewJob { picture: Picture::as_rgb(picture), plan };
        let jobs: Vec<ViewJob<'_>> = pictures.iter().copied().zip(&plans).map(job).collect();
        let embeddings = self.model.encode_views(&jobs, true)?;
        let rows = embeddings.data.chunks_exact(self.views() * embeddings.width);
        rows.zip(&boxes).map(|(views, boxes)| self.evaluate(views, embeddings.width, boxes)).collect()
    }

    /// Evaluates pictures as [`Evaluator::evaluate_batch`] does. The options' views are not looked at: they are the
    /// evaluator's own.
    pub fn stream(&self, options: StreamOptions) -> Stream<'_, Evaluation<'_>> {
        Stream::new(Devices::of(&self.model), options, self.views(), |pictures| self.evaluate_batch(pictures))
    }

    /// Views of a picture: the global one, and those of all runs.
    fn views(&self) -> usize {
        1 + self.samplings.iter().map(|sampling| sampling.count).sum::<usize>()
    }

    /// Scores a picture by its global view and its local ones, which are in the `boxes` of each run.
    fn evaluate(&self, views: &[f32], width: usize, boxes: &[Vec<CropBox>]) -> Result<Evaluation<'_>> {
        let (global, mut local) = views.split_at(width);
        let runs: Vec<Embeddings> = boxes
            .iter()
            .map(|boxes| {
                let (run, others) = local.split_at(boxes.len() * width);
                local = others;
                Embeddings { width, data: [global, run].concat() }
            })
            .collect();
        let mut methods = Vec::new();
        for classifier in &self.classifiers {
            let method = classifier.compiled().options.method;
            let seeds = if method == Method::Wca { runs.len() } else { 1 };
            let run = |(views, boxes): (&Embeddings, &Vec<CropBox>)| classifier.score_views(views, boxes);
            methods.push((method, runs.iter().zip(boxes).take(seeds).map(run).collect::<Result<_>>()?));
        }
        Ok(Evaluation(methods))
    }
}

/// What a picture scored with every method.
#[derive(Clone, Debug)]
pub struct Evaluation<'a>(Vec<(Method, Vec<Classification<'a>>)>);

impl Evaluation<'_> {
    /// The ranks of the picture's true class.
    ///
    /// # Errors
    /// When there is no such class.
    pub fn ranks(&self, class: &str) -> Result<Vec<Ranks>> {
        let rank = |(method, runs): &(Method, Vec<Classification<'_>>)| {
            let ranks = runs.iter().map(|run| place(run, class)).collect::<Result<_>>()?;
            Ok(Ranks { method: *method, ranks })
        };
        self.0.iter().map(rank).collect()
    }
}

/// The rank of a class, from 1.
fn place(result: &Classification<'_>, class: &str) -> Result<usize> {
    let place = result.predictions().iter().position(|prediction| prediction.class == class);
    place.map(|i| i + 1).ok_or_else(|| Error::argument("class", format!("{class:?}"), "a class of the prompts"))
}

/// How often a method was right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// The method.
    pub method: Method,
    /// The true class came first.
    pub top1: Percentage,
    /// The true class was among the first five.
    pub top5: Percentage,
}

/// A share of pictures in percent, over runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Percentage {
    /// The mean of the runs.
    pub mean: f64,
    /// The sample standard deviation of the runs (divided by their number less 1); none for a single run.
    pub standard_deviation: Option<f64>,
    /// One figure a run.
    pub runs: Vec<f64>,
}

impl Accuracy {
    /// The accuracies of all methods, from what [`Evaluator::rank`] gave for each picture; none without pictures.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(clip: usize, wca: [usize; 3]) -> Vec<Ranks> {
        let ranks = |method, ranks: &[usize]| Ranks { method, ranks: ranks.to_vec() };
        vec![ranks(Method::Clip, &[clip]), ranks(Method::Wca, &wca)]
    }

    #[test]
    fn accuracy_counts_ranks() {
        let pictures = [ranks(1, [1, 1, 2]), ranks(5, [1, 2, 1]), ranks(6, [1, 6, 7]), ranks(2, [9, 9, 9])];
        let all = Accuracy::of(&pictures).unwrap();
        assert_eq!(all[0].top1, Percentage { mean: 25.0, standard_deviation: None, runs: vec![25.0] });
        assert_eq!(all[0].top5.runs, [75.0]);
        assert_eq!(all[1].top1.runs, [75.0, 25.0, 25.0]);
        assert_eq!(all[1].top5.runs, [75.0, 50.0, 50.0]);
        assert!((all[1].top1.mean - 125.0 / 3.0).abs() < 1e-12);
        assert!((all[1].top1.standard_deviation.unwrap() - (2500.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Accuracy::of(&[]).unwrap(), []);
    }

    #[test]
    fn pictures_of_other_methods_are_refused() {
        let message = Accuracy::of(&[ranks(1, [1; 3]), ranks(1, [1; 3])[..1].to_vec()]).unwrap_err().to_string();
        assert!(message.starts_with("ranks: found [(Clip, 1)]"), "{message}");
    }
}
