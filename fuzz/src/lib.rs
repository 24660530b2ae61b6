//! The bodies of the fuzz targets: any bytes end in a value or in an error that says what is wrong, and what was
//! accepted is compared with an oracle where there is one. `tests/hostile.rs` runs them on stable Rust.

mod boxes;
mod classifier;
mod config;
mod folder;
mod labels;
mod picture;
mod prompts;
mod tokenizer;
mod weights;

pub use boxes::boxes;
pub use classifier::classifier;
pub use config::config;
pub use labels::labels;
pub use picture::picture;
pub use prompts::prompts;
pub use tokenizer::tokenizer;
pub use weights::weights;

/// The value, if there is one; an error must name `source`: the file or field it is about.
#[track_caller]
fn accepted<T>(result: crossalign::Result<T>, source: &str) -> Option<T> {
    result.inspect_err(|error| assert!(error.to_string().contains(source), "{source} is not named: {error}")).ok()
}
