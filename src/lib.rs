//! Training-free image classification by cross-aligning *views* of an image (crops) with *descriptions* of each
//! class through a CLIP model: "Visual-Text Cross Alignment" (WCA, ICML 2024, [arXiv 2406.02915]). Everything heavy
//! is a hand-written kernel.
//!
//! ```
//! use crossalign::{Model, ModelOptions, Picture, Prompts};
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/models/transformers");
//! # let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pictures/landscape.png");
//!
//! let model = Model::load(folder, &ModelOptions::default())?;
//! let prompts = Prompts::from_iter([
//!     ("cat", ["whiskers", "pointed ears"]),
//!     ("rocket", ["a white cylinder on a launch pad", "flames"]),
//! ]);
//! let classifier = model.compile(&prompts, &Default::default())?;
//! let result = classifier.classify(&Picture::open(picture, &Default::default())?)?;
//! for prediction in result.predictions() {
//!     println!("{:8.4}  {}", prediction.score, prediction.class);
//! }
//! # assert_eq!(result.predictions().len(), 2);
//! # Ok::<(), crossalign::Error>(())
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`image`] | decoding, crop sampling, Pillow's resampling tables |
//! | [`backend`] | the kernels: one trait; reference, SIMD, WebGPU and CUDA implementations |
//! | [`engine`] | a CLIP model on its devices |
//! | [`model`] | CLIP: configs, weights, tokenizer, forward passes |
//! | [`align`] | prompts, weights, scores, the compiled classifier |
//! | `hub` | models by their names on Hugging Face's hub (with the feature `hub`) |
//!
//! Imports go one way: `align` → `engine` → `model` → `backend`, `image` → `backend`, `model` → `hub`.
//!
//! [arXiv 2406.02915]: https://arxiv.org/abs/2406.02915

pub mod align;
pub mod backend;
pub mod engine;
#[cfg(feature = "hub")]
pub mod hub;
pub mod image;
pub mod model;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

mod block_on;
mod error;
mod lock;
mod options;
mod output;
mod process;
mod text_file;

pub use align::{
    Classification, Classifier, CompileOptions, CompiledClassifier, Method, Prompts, Reduction, Score, StreamOptions,
    Views,
};
pub use engine::{Device, Model, ModelOptions};
#[cfg(feature = "hub")]
pub use error::HubErrorKind;
pub use error::{Error, PictureErrorKind, Result};
pub use image::{DecodeOptions, Picture};
