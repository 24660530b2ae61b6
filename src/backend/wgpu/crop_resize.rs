//! `crop_resize`: cut, resample, normalise and patchify, all views of a picture in one dispatch.

use super::pipeline::kernels::crop_resize::{KERNEL, Params, TILE};
use super::queue::Queue;
use super::tensor::{WgpuTensor, chunks, rows_at_once};
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::gpu::crop_resize::{crop_output, crop_work, view_table};
use crate::backend::{CropJob, CropPlan, CropView, PictureSize, Rgb, Wgpu};
use crate::error::{Error, Result};
use std::ops::Range;

/// A picture in the GPU's memory, in buffers of as many rows as a binding holds.
#[derive(Debug)]
pub struct WgpuPicture {
    size: (u32, u32),
    rows: usize,
    parts: Vec<wgpu::Buffer>,
}

impl WgpuPicture {
    pub(super) fn upload(queue: &Queue, picture: Rgb<'_>) -> Result<Self> {
        let row_bytes = picture.width() as usize * 3;
        let rows = queue.max_binding as usize / row_bytes;
        if rows == 0 {
            let expected = format!("at most {} bytes", queue.max_binding);
            return Err(Error::argument("crop_resize picture", format!("{row_bytes} bytes a row"), expected));
        }
        let parts = picture.pixels().chunks(rows * row_bytes).map(|part| queue.upload(part)).collect::<Result<_>>()?;
        Ok(Self { size: picture.size(), rows, parts })
    }

    /// The parts that contain rows of a view.
    fn parts_of(&self, plan: &CropPlan, view: &CropView) -> Range<usize> {
        let span = plan.taps()[view.vertical].span();
        let (top, bottom) = (view.y as usize + span.start, view.y as usize + span.end);
        top / self.rows..bottom.div_ceil(self.rows)
    }
}

impl PictureSize for WgpuPicture {
    fn size(&self) -> (u32, u32) {
        self.size
    }
}

pub(super) fn run(queue: &Queue, args: Checked<CropResizeArgs<'_, '_, Wgpu>>) -> Result<()> {
    let CropResizeArgs { jobs, output } = args.into_inner();
    crop_output(
        output,
        |shape| WgpuTensor::allocate(queue, shape),
        |out| WgpuTensor::download_later(queue, [out])?.wait().map(|[bytes]| bytes),
        |patch_side, table, first_row, out| {
            let mut row = first_row;
            for job in jobs {
                patches(queue, job, patch_side, table, row, out)?;
                row += job.views.len() * ((job.plan.size() / patch_side) as usize).pow(2);
            }
            Ok(())
        },
    )
}

/// A plan's taps in flat tables: for each output pixel of each set the first pixel, the index of the first weight and
/// the number of weights; and all weights.
fn tap_tables(plan: &CropPlan) -> (Vec<[u32; 4]>, Vec<i32>) {
    let (mut taps, mut all_weights) = (Vec::new(), Vec::new());
    for (start, weights) in plan.taps().iter().flat_map(|set| (0..set.len()).map(|i| set.get(i))) {
        taps.push([start as u32, all_weights.len() as u32, weights.len() as u32, 0]);
        all_weights.extend_from_slice(weights);
    }
    (taps, all_weights)
}

/// Resamples one picture's views.
fn patches(
    queue: &Queue,
    job: &CropJob<'_, WgpuPicture>,
    patch_side: u32,
    table: &[f32],
    first_row: usize,
    out: &mut WgpuTensor,
) -> Result<()> {
    let &CropJob { picture, plan, .. } = job;
    let views = job.views();
    let size = plan.size();
    let per_view = ((size / patch_side) as usize).pow(2);
    let columns = 3 * (patch_side as usize).pow(2);
    let (taps, weights) = tap_tables(plan);
    let (taps, weights, table) = (queue.upload(&taps)?, queue.upload(&weights)?, queue.table(table)?);
    // If the picture has several parts, views go one by one, each through the parts that contain its rows.
    let whole = picture.parts.len() == 1;
    let flops = |view| crop_work(plan, std::slice::from_ref(view), 0..picture.size.1 as usize, 0).flops;
    let at_once = queue.at_once(views.iter().map(flops).max().unwrap_or(0) as usize).min(queue.max_groups as usize);
    let step = if whole { rows_at_once(queue, &[per_view * columns]).min(at_once) } else { 1 };
    let partial = queue.buffer(if whole { 4 } else { u64::from(size) * u64::from(size) * 3 * 4 })?;
    for batch in chunks(views.len(), step) {
        let batch_views = &views[batch.clone()];
        let rows = first_row + batch.start * per_view..first_row + batch.end * per_view;
        let window = out.window(queue, "crop_resize output", rows)?;
        let boxes = queue.upload(&view_table(batch_views))?;
        let parts = if whole { 0..1 } else { picture.parts_of(plan, &batch_views[0]) };
        for part in parts.clone() {
            let picture_rows = part * picture.rows..((part + 1) * picture.rows).min(picture.size.1 as usize);
            let params = Params {
                width: picture.size.0,
                size,
                patch_side,
                first_row: picture_rows.start as u32,
                end_row: picture_rows.end as u32,
                out_base: window.base,
                is_first: u32::from(part == parts.start),
                is_last: u32::from(part + 1 == parts.end),
            };
            let inputs =
                [&picture.parts[part], &boxes, &taps, &weights, &table, &partial].map(|buffer| buffer.slice(..));
            let bindings = [&inputs[..], &[window.slice]].concat();
            let tiles = size.div_ceil(TILE);
            let written = (4 * batch.len() * per_view * columns) as u64;
            let work = crop_work(plan, batch_views, picture_rows, written);
            queue.record(&KERNEL, &[], &params, &bindings, [tiles, tiles, batch.len() as u32], work)?;
        }
    }
    Ok(())
}
