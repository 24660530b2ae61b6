//! `crossalign models`

use super::options::Format;
use super::print;
use crate::error::Result;
use crate::hub::Hub;
use crate::model::{CachedModel, Config};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// List the hub's models in the cache, and which of them --model takes
///
/// The cache is HF_HUB_CACHE, or hub in HF_HOME, as for Python's huggingface_hub. A model that does not fit has the reason
/// beside it.
#[derive(clap::Args)]
pub(super) struct Args {
    /// json: one object a line, with the model's name, commit, folder and bytes, and what it is or the reason why it does not fit
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let models = Hub::from_env()?.models()?;
        let names: Vec<String> = models.iter().map(|model| model.name.to_string()).collect();
        let width = names.iter().map(String::len).max().unwrap_or_default();
        let line = |(model, name): (&CachedModel, &String)| {
            let kind = model.config.as_ref().map(describe).map_err(|error| reason(&error.to_string(), &model.folder));
            match self.format {
                Format::Text => {
                    let what = kind.unwrap_or_else(|reason| format!("does not fit: {reason}"));
                    format!("{name:width$}  {:>9}  {what}\n", size(model.bytes))
                }
                Format::Json => {
                    let line = json!({
                        "model": name, "commit": model.commit, "folder": model.folder.to_string_lossy(),
                        "bytes": model.bytes, "kind": kind.as_ref().ok(), "reason": kind.as_ref().err(),
                    });
                    format!("{line}\n")
                }
            }
        };
        print(models.iter().zip(&names).map(line).collect::<String>())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// What a model is.
fn describe(config: &Config) -> String {
    let Config { image_size, patch_size, embed, .. } = config;
    let layers = config.vision.layers;
    format!("CLIP, {image_size} pixels in patches of {patch_size}, {layers} layers, {embed} dimensions")
}

/// Why a model does not fit, in a line, with the files' names in place of their paths.
fn reason(error: &str, folder: &Path) -> String {
    let folder = folder.display();
    let words = error.replace(&format!("{folder}/"), "").replace(&format!("{folder}: "), "");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Bytes, as people read them.
fn size(bytes: u64) -> String {
    let digits = |unit: f64| format!("{:.1}", bytes as f64 / unit);
    match bytes {
        1_000_000_000.. => digits(1e9) + " GB",
        1_000_000.. => digits(1e6) + " MB",
        _ => digits(1e3) + " kB",
    }
}
