//! `crossalign compile`

use super::destination::Destination;
use super::options::{ModelArgs, PromptArgs};
use super::{input, warn_truncated};
use crate::align::CompileOptions;
use crate::engine::Towers;
use crate::error::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// Encode all prompts once and write a classifier file
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    prompts: PromptArgs,
    /// Keep the descriptions and their embeddings, not one vector a class: `explain --classifier` needs them. max and best:K
    /// keep them anyway
    #[arg(long)]
    keep_texts: bool,
    /// The classifier file to write, .safetensors or without an extension
    #[arg(short, long, value_name = "FILE|-")]
    output: PathBuf,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let inputs: Vec<_> = self.prompts.inputs().into_iter().chain(self.model.folder()).collect();
        input::check(&inputs)?;
        let output = Destination::new(&self.output, &["safetensors"], &inputs)?;
        let prompts = self.model.prompts(&self.prompts)?;
        let model = self.model.load(Towers::Text)?;
        let options = CompileOptions { keep_texts: self.keep_texts, ..self.prompts.options() };
        let compiled = model.compile_texts(&prompts, &options)?;
        warn_truncated(compiled.truncated, model.config().context);
        output.write(&compiled.to_bytes()?)?;
        Ok(ExitCode::SUCCESS)
    }
}
