//! `crop_resize`: cut, resample, normalise and patchify, all views of all pictures in one launch.

use super::context::Context;
use super::handles::Memory;
use super::launch::Launch;
use super::tensor::{CudaTensor, Element};
use crate::backend::Cuda;
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::gpu::crop_resize::{add_taps, crop_output, crop_work, view_table};
use crate::backend::{CropJob, PictureSize, Rgb, Work};
use crate::error::Result;

/// Side of a block's tile of a view, as in kernels/cuda/crop_resize.cu.
const TILE: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    size: u32,
    patch_side: u32,
    out_stride: u32,
    first_row: u32,
}

/// A picture in the GPU's memory, which is freed in stream order, behind the launches that read it.
#[derive(Debug)]
pub struct CudaPicture {
    size: (u32, u32),
    /// `[height, width, 3]`
    pixels: Memory,
}

impl CudaPicture {
    pub(super) fn upload(context: &Context, picture: Rgb<'_>) -> Result<Self> {
        Ok(Self { size: picture.size(), pixels: context.upload_words(picture.pixels())? })
    }
}

impl PictureSize for CudaPicture {
    fn size(&self) -> (u32, u32) {
        self.size
    }
}

pub(super) fn run(context: &Context, args: Checked<CropResizeArgs<'_, '_, Cuda>>) -> Result<()> {
    let CropResizeArgs { jobs, output } = args.into_inner();
    crop_output(
        output,
        |shape| CudaTensor::allocate(context, shape),
        |out| CudaTensor::download_later(context, [out])?.wait().map(|[bytes]| bytes),
        |patch_side, table, first_row, out| patches(context, jobs, patch_side, table, first_row, out),
    )
}

fn patches(
    context: &Context,
    jobs: &[CropJob<'_, CudaPicture>],
    patch_side: u32,
    table: &[f32],
    first_row: usize,
    out: &mut CudaTensor,
) -> Result<()> {
    let Some(size) = jobs.first().map(|job| job.plan.size()) else { return Ok(()) };
    let kernel = match out.element {
        Element::F32 => "crop_resize_f32",
        Element::F16 => "crop_resize_f16",
    };
    let params = Params { size, patch_side, out_stride: out.stride() as u32, first_row: first_row as u32 };
    let elements = ((size / patch_side) * (size / patch_side) * 3 * patch_side * patch_side) as usize;
    let (mut views, mut taps, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let mut work = Work::default();
    for job in jobs {
        let sets = (taps.len() / size as usize) as u32;
        add_taps(job.plan, &mut taps, &mut weights);
        let (address, (width, height)) = (job.picture.pixels.address, job.picture.size);
        for [x, y, horizontal, vertical] in view_table(job.views()) {
            views.push([x, y, sets + horizontal, sets + vertical]);
            views.push([address as u32, (address >> 32) as u32, width, 0]);
        }
        let written = (out.element.bytes() * job.views.len() * elements) as u64;
        let Work { bytes, flops } = crop_work(job.plan, job.views(), 0..height as usize, written);
        (work.bytes, work.flops) = (work.bytes + bytes, work.flops + flops);
    }
    let count = views.len() / 2;
    let (views, taps, weights) = (context.upload(&views)?, context.upload(&taps)?, context.upload(&weights)?);
    let table = context.table(table)?;
    let memories = [&views, &taps, &weights, &table, &out.memory];
    let tiles = (size as usize).div_ceil(TILE);
    let launch = Launch { grid: [count, tiles, tiles], block: [TILE as u32, TILE as u32], shared: 0 };
    context.launch(kernel, &params, &memories, launch, work)
}
