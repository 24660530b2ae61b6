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
    let options = ModelOptions { device: "cpu".into(), threads: 1, ..Default::default() };
    common::load(&Reference::golden().root.join("models").join(name), options)
}

fn prompts(json: &str) -> Prompts {
    Prompts::from_json(json, None).unwrap()
}

fn labelled(json: &str, labels: &[&str]) -> Prompts {
    let labels: Vec<String> = labels.iter().map(|label| label.to_string()).collect();
    Prompts::from_json(json, Some(&labels)).unwrap()
}

fn method(method: Method) -> CompileOptions {
    CompileOptions { method, ..Default::default() }
}
