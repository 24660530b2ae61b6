//! `crop_resize`: cut, resample, normalise and patchify, all views of a picture in one launch.

use super::context::{Context, Launch};
use super::tensor::{CudaTensor, Element};
use crate::backend::{CropOutput, CropPlan, Rgb, Shape, contract, tables};
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

pub(super) fn run(
    context: &Context,
    picture: Rgb<'_>,
    plan: &CropPlan,
    views: Range<usize>,
    output: CropOutput<'_, CudaTensor>,
) -> Result<()> {
    contract::crop_resize(picture, plan, &views, &output)?;
    match output {
        CropOutput::Patches { layout, first_row, out } => {
            patches(context, picture, plan, views, layout.patch(), layout.table().as_flattened(), first_row, out)
        }
        // Bytes are patches of one pixel, each byte as the number that it is.
        CropOutput::Bytes(bytes) => {
            let table: Vec<f32> = (0..3 * 256).map(|i| (i % 256) as f32).collect();
            let mut out = CudaTensor::allocate(context, Shape::new(bytes.len() / 3, 3))?;
            patches(context, picture, plan, views, 1, &table, 0, &mut out)?;
            bytes.iter_mut().zip(out.download(context)?).for_each(|(byte, x)| *byte = x as u8);
            Ok(())
        }
    }
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
