//! `crossalign compile`

use super::options::{ModelArgs, PromptArgs};
use super::warn_truncated;
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
    /// The classifier file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let prompts = self.model.prompts(&self.prompts)?;
        let model = self.model.load(Towers::Text)?;
        let compiled = model.compile_texts(&prompts, &self.prompts.options())?;
        warn_truncated(compiled.truncated, model.config().context);
        compiled.save(&self.output)?;
        Ok(ExitCode::SUCCESS)
    }
}
