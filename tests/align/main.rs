//! From prompts and views to scores: each option away from its default, in what it changes.

#[path = "../common/mod.rs"]
mod common;

mod accuracy;
mod classes;
mod classifier_file;
mod prompts_hash;
mod text_files;
mod texts;
mod views;

use common::Reference;
use crossalign::{CompileOptions, Method, Model, ModelOptions, Prompts};

fn golden(name: &str) -> Model {
    let options = ModelOptions::default().with_device("cpu".parse().unwrap()).with_threads(1);
    common::load(&Reference::golden().root.join("models").join(name), options)
}

fn prompts(json: &str) -> Prompts {
    Prompts::from_json(json).unwrap()
}

fn labelled(json: &str, labels: &[&str]) -> Prompts {
    let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
    Prompts::from_json_with_labels(json, &labels).unwrap()
}

fn method(method: Method) -> CompileOptions {
    CompileOptions::default().with_method(method)
}
