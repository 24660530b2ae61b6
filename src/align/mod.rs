//! Alignment: from embeddings to a score for each class.
//!
//! With unit view embeddings `f`, the global one `f₀`, unit description embeddings `g` of a class and its label
//! prompt's `g₀`:
//!
//! | method | score of a class |
//! | --- | --- |
//! | [`Method::Clip`] | `f₀ · g₀` |
//! | [`Method::ClipE`] | `f₀ · unit(mean of the filled templates' g)` |
//! | [`Method::Cupl`] | `f₀ · unit(mean g)` |
//! | [`Method::Wca`], [`Score::Official`] | `unit(Σ wᵢ fᵢ) · unit(Σ vⱼ gⱼ)` |
//! | [`Method::Wca`], [`Score::Paper`] | `Σᵢⱼ wᵢ vⱼ fᵢ·gⱼ` |
//!
//! with `w = softmax(e^image_scale · f·f₀)` over the local views and `v = softmax(e^text_scale · g·g₀)` over the
//! class's descriptions. Every score is linear in the views' weighted sum, so a class folds into one vector.
//!
//! This is the [reduction](Reduction) `mean`. Other reductions replace `Σⱼ vⱼ fᵢ·gⱼ`, for each view separately:
//!
//! | reduction | similarity of a view with a class |
//! | --- | --- |
//! | `max` | `maxⱼ fᵢ·gⱼ` |
//! | `best:K` | `Σⱼ vⱼ fᵢ·gⱼ / Σⱼ vⱼ` over the `K` texts that fit the view best; over all where a class has fewer |
//!
//! With WCA the score is then the paper's, `Σᵢ wᵢ · reduction`; the official one, which divides by the length of the
//! texts' weighted sum, is refused. `cupl` and `clip-e` reduce `f₀·gⱼ` with equal weights; `clip` has one text a class,
//! its label prompt, so that reductions do not matter. Duplicate texts of a class count each time. `max` ignores the
//! weights.
//!
//! Source: WCA, ICML 2024 (arXiv 2406.02915) and the authors' code; CuPL (arXiv 2209.03320); CLIP (arXiv 2103.00020).

mod classifier;
mod classifier_file;
mod compile;
mod encode;
mod evaluate;
mod explain;
mod heat;
mod prompts;
mod ranking;
mod stream;
mod task;
mod texts;

pub use crate::backend::Reduction;
pub use classifier::{Classification, Classifier, Prediction, Views, WeightedView};
pub use compile::{CompileOptions, CompiledClassifier, Method, Score};
pub use evaluate::{Accuracy, Evaluation, Evaluator, Percentage, Ranks};
pub use explain::{Explanation, Pair, WeightedText};
#[cfg(feature = "cli")]
pub(crate) use heat::OUTLINES;
pub use prompts::{Class, Prompts};
#[doc(hidden)]
pub use stream::Hardware;
pub use stream::{Input, Results, Stream, StreamOptions};
#[doc(hidden)]
pub use task::{Planned, Task};
pub use texts::{Kept, Texts};
