//! `crossalign embed`

use super::options::{DecodeArgs, ModelArgs, read_boxes};
use super::warn_truncated;
use crate::engine::{Embeddings, Model, Towers};
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::model::ViewJob;
use crate::output::write_whole;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write embeddings of a picture's views and of texts
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true).multiple(true).args(["image", "texts"]))]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A picture: its global view becomes row 0 of image_embeds
    #[arg(long, value_name = "IMG")]
    image: Option<PathBuf>,
    /// JSON file of boxes [[x, y, width, height], …]: rows 1, 2, …
    #[arg(long, value_name = "FILE", requires = "image")]
    boxes: Option<PathBuf>,
    /// JSON list of texts: the rows of text_embeds
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// As projected by the model, not scaled to unit length
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    decode: DecodeArgs,
    /// The safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let texts = self.texts.as_deref().map(read_texts).transpose()?;
        let picture = self.image.as_ref().map(|path| Picture::open(path, &self.decode.options())).transpose()?;
        let model = self.model.load(match (&picture, &texts) {
            (Some(_), None) => Towers::Vision,
            (None, _) => Towers::Text,
            _ => Towers::Both,
        })?;
        let mut tensors = Vec::new();
        if let Some(picture) = &picture {
            tensors.push(("image_embeds", self.image_embeds(&model, picture)?));
        }
        if let Some(texts) = &texts {
            let encoded = model.encode_texts(texts, !self.raw)?;
            warn_truncated(encoded.truncated, model.config().context);
            tensors.push(("text_embeds", encoded.embeddings));
        }
        save(&self.output, &tensors)?;
        Ok(ExitCode::SUCCESS)
    }

    fn image_embeds(&self, model: &Model, picture: &Picture) -> Result<Embeddings> {
        let boxes = self.boxes.as_deref().map(read_boxes).transpose()?.unwrap_or_default();
        let plan = model
            .config()
            .plan_views((picture.width(), picture.height()), &boxes)
            .map_err(|error| self.boxes.iter().fold(error, |error, path| error.in_file(path)))?;
        model.encode_views(&[ViewJob { picture: picture.as_rgb(), plan: &plan }], !self.raw)
    }
}

fn read_texts(path: &Path) -> Result<Vec<String>> {
    let json = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let texts: Vec<String> =
        serde_json::from_str(&json).map_err(|error| Error::parse(path, "texts", error, "a JSON list of texts"))?;
    if texts.is_empty() {
        return Err(Error::file(path, "texts", "an empty list", "at least one text"));
    }
    Ok(texts)
}

fn save(path: &Path, tensors: &[(&str, Embeddings)]) -> Result<()> {
    let failed = |error: safetensors::SafeTensorError| Error::io(path)(std::io::Error::other(error));
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, rows)| rows.data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::new();
    for ((name, rows), bytes) in tensors.iter().zip(&bytes) {
        views.push((*name, TensorView::new(Dtype::F32, vec![rows.len(), rows.width], bytes).map_err(failed)?));
    }
    write_whole(path, &safetensors::serialize(views, None).map_err(failed)?)
}
