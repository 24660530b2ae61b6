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
//! class's descriptions. Every one is linear in the views' weighted sum, so a class collapses to one vector.
//! Source: WCA, ICML 2024 (arXiv 2406.02915) and the authors' code; CuPL (arXiv 2209.03320); CLIP (arXiv 2103.00020).

mod classifier;
mod compile;
mod evaluate;
mod explain;
mod file;
mod planned;
mod prompts;
mod stream;

pub use classifier::{Classification, Classifier, Prediction, Views, WeightedView};
pub use compile::{CompileOptions, Compiled, Method, Score};
pub use evaluate::{Accuracy, Evaluation, Evaluator, Percentage, Ranks};
pub use explain::{Explanation, Pair, WeightedText};
pub use prompts::{Class, Prompts};
pub use stream::{Input, Results, Stream, StreamOptions};
