//! `crossalign views`

use super::options::{DecodeArgs, MINI, ViewArgs, load_mini};
use crate::align::Views;
use crate::backend::Activation;
use crate::engine;
use crate::engine::ModelOptions;
use crate::error::{Error, Result};
use crate::image::{Picture, Resize, plan_views};
use crate::model::Config;
use crate::output::write_whole;
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a picture's views as tensors or as a contact sheet
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("side").required(true).args(["model", "size"]))]
pub(super) struct Args {
    /// The picture
    #[arg(value_name = "IMG")]
    image: PathBuf,
    /// Take the size of this model's views
    #[arg(long, value_name = "DIR|mini")]
    model: Option<PathBuf>,
    /// Side of a view in pixels
    #[arg(long)]
    size: Option<u32>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    decode: DecodeArgs,
    /// auto, cpu, wgpu[:N] or reference
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the CPU backend [default: all]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// OUT.safetensors (u8 views [V, S, S, 3]) or OUT.png (a contact sheet)
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

/// Pixels between the views of a contact sheet.
const GAP: usize = 4;

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let (size, resize) = match (&self.model, self.size) {
            (Some(dir), _) if dir == Path::new(MINI) => view_shape(load_mini(&ModelOptions::default())?.config()),
            (Some(dir), _) => view_shape(&Config::open(dir, Some(Activation::QuickGelu))?),
            (None, size) => (size.unwrap_or_default(), Resize::ShortestEdge),
        };
        let picture = Picture::open(&self.image, &self.decode.options())?;
        let boxes = match self.views.views()? {
            Views::Boxes(boxes) => boxes,
            Views::Sampled(sampling) => sampling.boxes(picture.as_rgb())?,
        };
        let plan = plan_views((picture.width(), picture.height()), &boxes, size, resize)
            .map_err(|error| if boxes.is_empty() { error } else { error.in_file(&self.image) })?;
        let device = engine::open(&self.device, self.threads, None)?;
        let views = device.resample(picture.as_rgb(), &plan)?;
        if self.output.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            write_whole(&self.output, &contact_sheet(&views, size as usize, &self.output)?)?;
        } else {
            write_whole(&self.output, &tensors(&views, size as usize, &self.output)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn view_shape(config: &Config) -> (u32, Resize) {
    (config.image_size, config.resize)
}

/// `views` `[V, S, S, 3]` as a safetensors file.
fn tensors(views: &[u8], size: usize, path: &Path) -> Result<Vec<u8>> {
    let failed = |error: safetensors::SafeTensorError| Error::io(path)(std::io::Error::other(error));
    let shape = vec![views.len() / (size * size * 3), size, size, 3];
    let view = TensorView::new(Dtype::U8, shape, views).map_err(failed)?;
    safetensors::serialize([("views", view)], None).map_err(failed)
}

/// The views in reading order on white, about as wide as high, as a PNG file.
fn contact_sheet(views: &[u8], size: usize, path: &Path) -> Result<Vec<u8>> {
    let count = views.len() / (size * size * 3);
    let columns = (1..=count).find(|columns| columns * columns >= count).unwrap_or(1);
    let step = size + GAP;
    let (width, height) = (columns * step + GAP, count.div_ceil(columns) * step + GAP);
    let mut sheet = vec![255; width * height * 3];
    for (i, view) in views.chunks_exact(size * size * 3).enumerate() {
        let (x, y) = (GAP + i % columns * step, GAP + i / columns * step);
        for (row, pixels) in view.chunks_exact(size * 3).enumerate() {
            sheet[((y + row) * width + x) * 3..][..size * 3].copy_from_slice(pixels);
        }
    }
    let mut png = std::io::Cursor::new(Vec::new());
    image::write_buffer_with_format(
        &mut png,
        &sheet,
        width as u32,
        height as u32,
        image::ExtendedColorType::Rgb8,
        image::ImageFormat::Png,
    )
    .map_err(|error| Error::io(path)(std::io::Error::other(error)))?;
    Ok(png.into_inner())
}
