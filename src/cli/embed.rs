//! `crossalign embed`

use super::destination::Destination;
use super::options::{DecodeArgs, Format, ModelArgs, read_boxes};
use super::pictures::{self, Listed, Unfinished};
use super::{exit, input, name_picture, report, warn_truncated};
use crate::align::Views;
use crate::engine::{Embeddings, Model, Towers};
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write embeddings of pictures' views and of texts
///
/// image_embeds is [views, D] for one file. For several files, or a folder, it is [pictures · views, D], each picture's
/// rows behind those of the one before it, and the file's metadata has the pictures' names as a JSON list in "images":
/// a picture that cannot be read is told, left out, and makes the exit status 1.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("input").required(true).multiple(true).args(["image", "texts"]))]
pub(super) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A picture, or a folder of pictures; may be given several times. Row 0 is the global view
    #[arg(long, value_name = "IMG|-")]
    image: Vec<PathBuf>,
    /// Take the pictures in the folders of folders, too
    #[arg(long, requires = "image")]
    recursive: bool,
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
        let given = self.image.iter().chain(&self.boxes).chain(&self.texts).map(PathBuf::as_path);
        let given: Vec<&Path> = given.chain(self.model.folder()).collect();
        input::check(&given)?;
        let (files, errors) = pictures::list(&self.image, self.recursive);
        let inputs: Vec<&Path> = files.iter().map(|file| file.path.as_path()).chain(given).collect();
        let output = Destination::new(&self.output, &["safetensors"], &inputs)?;
        errors.iter().for_each(|error| report(&error.to_string()));
        let texts = self.texts.as_deref().map(read_texts).transpose()?;
        let boxes = self.boxes.as_deref().map(read_boxes).transpose()?.unwrap_or_default();
        let model = self.model.load(match (self.image.is_empty(), &texts) {
            (false, None) => Towers::Vision,
            (true, _) => Towers::Text,
            _ => Towers::Both,
        })?;
        let (mut tensors, mut names, mut failed) = (Vec::new(), None, !errors.is_empty());
        if !self.image.is_empty() {
            let (rows, of, others) = self.embed(&model, &files, Views::Boxes(boxes))?;
            failed |= others;
            if of.is_empty() {
                return Ok(ExitCode::FAILURE); // each was reported
            }
            tensors.push(("image_embeds", rows));
            // A single file was named by the user: its name is not stored.
            let is_single = matches!(&self.image[..], [image] if input::is_stdin(image) || !image.is_dir());
            names = (!is_single).then_some(of);
        }
        if let Some(texts) = &texts {
            let encoded = model.encode_texts(texts, !self.raw)?;
            warn_truncated(encoded.truncated, model.config().context);
            tensors.push(("text_embeds", encoded.embeddings));
        }
        output.write(&to_bytes(&tensors, names)?)?;
        Ok(exit(failed))
    }

    /// The embeddings and names of all pictures that could be encoded, and whether there are others.
    fn embed(&self, model: &Model, files: &[Listed], views: Views) -> Result<(Embeddings, Vec<String>, bool)> {
        let (mut rows, mut names) = (Embeddings { width: model.config().embed, data: Vec::new() }, Vec::new());
        let options = self.model.stream(&self.decode);
        let read = pictures::reader(options.decode);
        let results = model.stream(views, !self.raw, options).open(files.to_vec(), read);
        let words = |path: &Path, error| name_picture(error, path).to_string();
        let unfinished = Unfinished::new(files, Format::Text, "nothing is written, run again");
        let (failed, strays) = pictures::each(results, &unfinished, words, |file, embeddings| {
            self.model.warn_of_photograph(&file.path, file.photograph);
            rows.data.extend(embeddings.data);
            names.push(file.path.to_string_lossy().into());
            Ok(())
        })?;
        Ok((rows, names, failed > 0 || strays.fill_a_folder(files)))
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

/// A safetensors file of f32 tensors `[rows, width]`, with the pictures' names where there are any.
fn to_bytes(tensors: &[(&str, Embeddings)], names: Option<Vec<String>>) -> Result<Vec<u8>> {
    let bytes = |rows: &Embeddings| rows.data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, rows)| bytes(rows)).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, rows), bytes)| Ok((*name, TensorView::new(Dtype::F32, vec![rows.len(), rows.width], bytes)?)));
    let metadata = names.map(|names| HashMap::from([("images".into(), json!(names).to_string())]));
    let file = views.collect::<Result<Vec<_>, _>>().and_then(|views| safetensors::serialize(views, metadata));
    file.map_err(|error| Error::argument("embeddings", error.to_string(), "tensors that make a safetensors file"))
}
