//! `crop_resize`: cut, resample, normalise and patchify, all views of all pictures in one launch.

use super::context::Context;
use super::element::Element;
use super::handles::Memory;
use super::launch::Launch;
use super::tensor::CudaTensor;
use crate::backend::Cuda;
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::gpu::crop_resize::{crop_output, crop_work, view_table};
use crate::backend::{CropJob, CropPlan, PictureSize, Rgb, Work};
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

/// Appends a plan's taps to the kernel's tables: for each output pixel of each set the first group's first pixel, the index
/// of the first group, the number of groups, the last group's first pixel; and the weights of all groups of four taps, by
/// digits.
fn add_taps_by_fours(plan: &CropPlan, taps: &mut Vec<[u32; 4]>, groups: &mut Vec<[u32; 4]>) {
    for (start, weights) in plan.taps().iter().flat_map(|set| (0..set.len()).map(|i| set.get(i))) {
        let end = start + weights.len();
        // Four pixels that end with the last tap; fewer taps than four may have pixels before them.
        let last = end.saturating_sub(4);
        let first = start.min(last);
        let count = (last - first).div_ceil(4) + 1;
        taps.push([first as u32, groups.len() as u32, count as u32, last as u32]);
        groups.extend((0..count).map(|group| {
            let mut words = [0; 4];
            // Those before are in the group before.
            let from = start.max(first + 4 * group);
            let pixels = (first + 4 * group).min(last)..;
            for (lane, pixel) in pixels.take(4).enumerate().filter(|(_, pixel)| (from..end).contains(pixel)) {
                for (word, digit) in words.iter_mut().zip(digits(weights[pixel - start])) {
                    *word |= u32::from(digit as u8) << (8 * lane);
                }
            }
            words
        }));
    }
}

/// A weight's low, middle and high digit: `low + 2⁸ middle + 2¹⁶ high`.
fn digits(weight: i32) -> [i8; 3] {
    let low = weight as i8;
    let rest = (weight - i32::from(low)) >> 8;
    let middle = rest as i8;
    // Pillow's weights of a pixel sum up to 2²², none is as large as twice that.
    [low, middle, ((rest - i32::from(middle)) >> 8) as i8]
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
        add_taps_by_fours(job.plan, &mut taps, &mut weights);
        let (address, (width, height)) = (job.picture.pixels.address, job.picture.size);
        let side = |set: u32| job.plan.taps()[set as usize].span().end.min(4) as u32;
        for [x, y, horizontal, vertical] in view_table(job.views()) {
            views.push([x, y, sets + horizontal, sets + vertical]);
            let crop = side(horizontal) | side(vertical) << 16;
            views.push([address as u32, (address >> 32) as u32, width, crop]);
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
