//! `crossalign views`

use super::destination::Destination;
use super::options::{DecodeArgs, MINI, ViewArgs, load_mini, report_notes};
use super::{hub, input, memory, name_picture, pictures, png};
use crate::align::Views;
use crate::backend::Activation;
use crate::block_on::block_on;
use crate::engine::{self, ModelOptions};
use crate::error::{Error, Result};
use crate::image::{Resize, plan_views};
use crate::model::Config;
use image::{ImageBuffer, Rgb, RgbImage, imageops};
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Write a picture's views as tensors or as a contact sheet
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("side").required(true).args(["model", "size"]))]
pub(super) struct Args {
    /// The picture
    #[arg(value_name = "IMG|-")]
    image: PathBuf,
    /// Take the size of this model's views
    #[arg(long, value_name = "DIR|ORG/NAME|mini")]
    model: Option<PathBuf>,
    /// Side of a view in pixels
    #[arg(long)]
    size: Option<u32>,
    #[command(flatten)]
    views: ViewArgs,
    #[command(flatten)]
    decode: DecodeArgs,
    /// auto, cpu, wgpu[:N|:NAME] or reference
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the CPU backend [default: all]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// OUT.safetensors (u8 views [V, S, S, 3]) or OUT.png (a contact sheet); safetensors for - or without an extension
    ///
    /// Views and file together take at most 4 GiB of memory.
    #[arg(short, long, value_name = "OUT|-")]
    output: PathBuf,
}

/// Pixels between the views of a contact sheet.
const GAP: usize = 4;

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let own = [&*self.image].into_iter().chain(self.model.as_deref()).collect();
        let inputs = [own, self.views.inputs()].concat();
        input::check(&inputs)?;
        let output = Destination::new(&self.output, &["safetensors", "png"], &inputs)?;
        let (size, resize) = match (&self.model, self.size) {
            (Some(dir), _) if dir == Path::new(MINI) => view_shape(load_mini(&ModelOptions::default())?.config()),
            (Some(dir), _) => view_shape(&Config::open(hub::fetch(dir)?, Some(Activation::QuickGelu))?),
            (None, size) => (size.unwrap_or_default(), Resize::ShortestEdge),
        };
        let views = self.views.views()?;
        let sheet = output.format == "png";
        let (count, side) = (1 + views.count(), size as usize);
        memory::check(&format!("{count} views of {side}×{side} pixels"), bytes(count, side, sheet))?;
        let (picture, _) = pictures::open(&self.image, &self.decode.options())?;
        let boxes = match views {
            Views::Boxes(boxes) => boxes,
            Views::Sampled(sampling) => sampling.boxes(picture.as_rgb())?,
        };
        let plan = plan_views((picture.width(), picture.height()), &boxes, size, resize)
            .map_err(|error| name_picture(error, &self.image))?;
        let (device, notes) = block_on(engine::open(&self.device.parse()?, self.threads, None))?;
        report_notes(&notes);
        let views = device.resample(picture.as_rgb(), &plan)?;
        let file = if sheet { contact_sheet(&views, side) } else { tensors(&views, side) };
        output.write(&file.map_err(|error| Error::argument("views", error, "views that make a file"))?)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn view_shape(config: &Config) -> (u32, Resize) {
    (config.image_size, config.resize)
}

/// Bytes that views take, with the file that is made of them: a copy, or a sheet and a PNG that is about as large at most.
fn bytes(count: usize, side: usize, sheet: bool) -> u128 {
    let views = count as u128 * (side as u128).pow(2) * 3;
    let (width, height) = sheet_size(count, side);
    views + if sheet { 2 * width as u128 * height as u128 * 3 } else { views }
}

/// `views` `[V, S, S, 3]` as a safetensors file.
fn tensors(views: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let shape = vec![views.len() / (size * size * 3), size, size, 3];
    let view = TensorView::new(Dtype::U8, shape, views).map_err(|error| error.to_string())?;
    safetensors::serialize([("views", view)], None).map_err(|error| error.to_string())
}

/// Views in a row of a contact sheet.
fn columns(count: usize) -> usize {
    count.isqrt() + usize::from(count.isqrt().pow(2) < count)
}

/// Width and height of a contact sheet.
fn sheet_size(count: usize, size: usize) -> (usize, usize) {
    let (columns, step) = (columns(count), size + GAP);
    (columns * step + GAP, count.div_ceil(columns) * step + GAP)
}

/// The views in reading order on white, about as wide as high, as a PNG file.
fn contact_sheet(views: &[u8], size: usize) -> Result<Vec<u8>, String> {
    let count = views.len() / (size * size * 3);
    let (columns, step) = (columns(count), size + GAP);
    let (width, height) = sheet_size(count, size);
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, Rgb([255; 3]));
    for (i, view) in views.chunks_exact(size * size * 3).enumerate() {
        let (x, y) = (GAP + i % columns * step, GAP + i / columns * step);
        let view: ImageBuffer<Rgb<u8>, &[u8]> =
            ImageBuffer::from_raw(size as u32, size as u32, view).expect("a view has as many pixels");
        imageops::replace(&mut sheet, &view, x as i64, y as i64);
    }
    png(&sheet).map_err(|error| error.to_string())
}
