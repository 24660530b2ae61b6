//! `crop_resize`: cut, resample, normalise and patchify, all views of a picture in one launch.

use super::context::{Context, Launch};
use super::tensor::{CudaTensor, Element};
use crate::backend::Cuda;
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::{CropPlan, Rgb, tables};
use crate::error::Result;
use std::ops::Range;

/// Side of a block's part of a view, as in kernels/cuda/crop_resize.cu.
const TILE: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    width: u32,
    size: u32,
    patch_side: u32,
    out_stride: u32,
    first_row: u32,
}

pub(super) fn run(context: &Context, args: Checked<CropResizeArgs<'_, Cuda>>) -> Result<()> {
    let CropResizeArgs { picture, plan, views, output } = args.into_inner();
    tables::crop_output(
        output,
        |shape| CudaTensor::allocate(context, shape),
        |out| out.download(context),
        |patch_side, table, first_row, out| patches(context, picture, plan, views, patch_side, table, first_row, out),
    )
}

#[expect(clippy::too_many_arguments, reason = "the two outputs in one form")]
fn patches(
    context: &Context,
    picture: Rgb<'_>,
    plan: &CropPlan,
    views: Range<usize>,
    patch_side: u32,
    table: &[f32],
    first_row: usize,
    out: &mut CudaTensor,
) -> Result<()> {
    let (taps, weights) = tables::taps(plan);
    let views = &plan.views()[views];
    let kernel = match out.element {
        Element::F32 => "crop_resize_f32",
        Element::F16 => "crop_resize_f16",
    };
    let (size, columns) = (plan.size() as usize, 3 * (patch_side as usize).pow(2));
    let params = Params {
        width: picture.width(),
        size: plan.size(),
        patch_side,
        out_stride: out.stride() as u32,
        first_row: first_row as u32,
    };
    let height = picture.height() as usize;
    let picture = context.upload(picture.pixels())?;
    let (corners, taps, weights) =
        (context.upload(&tables::views(views))?, context.upload(&taps)?, context.upload(&weights)?);
    let table = context.table(table)?;
    let memories = [&picture, &corners, &taps, &weights, &table, &out.memory];
    let tiles = size.div_ceil(TILE);
    let launch = Launch { grid: [views.len(), tiles, tiles], block: [TILE as u32, TILE as u32], shared: 0 };
    let elements = views.len() * (size / patch_side as usize).pow(2) * columns;
    let written = (out.element.bytes() * elements) as u64;
    context.launch(kernel, &params, &memories, launch, tables::crop_work(plan, views, 0..height, written))
}
