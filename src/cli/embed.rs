//! `crossalign embed`

use super::destination::Destination;
use super::options::{DecodeArgs, ModelArgs, read_boxes};
use super::{input, name_picture, pictures, warn_truncated};
use crate::engine::{Embeddings, Model, Towers};
use crate::error::{Error, Result};
use crate::image::{CropBox, Picture};
use crate::model::ViewJob;
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
    #[arg(long, value_name = "IMG|-")]
    image: Option<PathBuf>,
    /// JSON file of boxes [[x, y, width, height], …]: rows 1, 2, …
    #[arg(long, value_name = "FILE|-", requires = "image")]
    boxes: Option<PathBuf>,
    /// JSON list of texts: the rows of text_embeds
    #[arg(long, value_name = "FILE|-")]
    texts: Option<PathBuf>,
    /// As projected by the model, not scaled to unit length
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    decode: DecodeArgs,
    /// The safetensors file to write, .safetensors or without an extension
    #[arg(short, long, value_name = "FILE|-")]
    output: PathBuf,
}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let files = [&self.image, &self.boxes, &self.texts].into_iter().flatten().map(PathBuf::as_path);
        let inputs: Vec<&Path> = files.chain(self.model.folder()).collect();
        input::check(&inputs)?;
        let output = Destination::new(&self.output, &["safetensors"], &inputs)?;
        let texts = self.texts.as_deref().map(read_texts).transpose()?;
        let boxes = self.boxes.as_deref().map(read_boxes).transpose()?.unwrap_or_default();
        let image = self.image.as_deref().map(|path| self.open(path)).transpose()?;
        let model = self.model.load(match (&image, &texts) {
            (Some(_), None) => Towers::Vision,
            (None, _) => Towers::Text,
            _ => Towers::Both,
        })?;
        let mut tensors = Vec::new();
        if let Some((path, picture)) = &image {
            let embeds = self.image_embeds(&model, picture, &boxes).map_err(|error| name_picture(error, path))?;
            tensors.push(("image_embeds", embeds));
        }
        if let Some(texts) = &texts {
            let encoded = model.encode_texts(texts, !self.raw)?;
            warn_truncated(encoded.truncated, model.config().context);
            tensors.push(("text_embeds", encoded.embeddings));
        }
        output.write(&to_bytes(&tensors)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn open<'a>(&self, path: &'a Path) -> Result<(&'a Path, Picture)> {
        let opened = pictures::open(path, &self.decode.options())?;
        self.model.warn_of_photograph(path, &opened);
        Ok((path, opened.picture))
    }

    fn image_embeds(&self, model: &Model, picture: &Picture, boxes: &[CropBox]) -> Result<Embeddings> {
        let plan = model.config().plan_views((picture.width(), picture.height()), boxes)?;
        model.encode_views(&[ViewJob { picture: picture.as_rgb(), plan: &plan }], !self.raw)
    }
}

fn read_texts(path: &Path) -> Result<Vec<String>> {
    let texts: Vec<String> = serde_json::from_str(&input::read_text(path)?)
        .map_err(|error| Error::parse(path, "texts", error, "a JSON list of texts"))?;
    if texts.is_empty() {
        return Err(Error::file(path, "texts", "an empty list", "at least one text"));
    }
    Ok(texts)
}

/// A safetensors file of f32 tensors `[rows, width]`.
fn to_bytes(tensors: &[(&str, Embeddings)]) -> Result<Vec<u8>> {
    let failed = |error: safetensors::SafeTensorError| {
        Error::argument("embeddings", error.to_string(), "tensors that make a safetensors file")
    };
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, rows)| rows.data.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let mut views = Vec::new();
    for ((name, rows), bytes) in tensors.iter().zip(&bytes) {
        views.push((*name, TensorView::new(Dtype::F32, vec![rows.len(), rows.width], bytes).map_err(failed)?));
    }
    safetensors::serialize(views, None).map_err(failed)
}
