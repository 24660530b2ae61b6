//! `crop_resize`: cut, resample, normalise and patchify, all views of a picture in one dispatch.

use super::pipeline::kernels::crop_resize::{KERNEL, Params, TILE};
use super::queue::{Queue, Slice};
use super::tensor::{WgpuTensor, chunks, rows_at_once};
use crate::backend::Wgpu;
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::{CropJob, CropPlan, tables};
use crate::error::{Error, Result};
use std::ops::Range;

pub(super) fn run(queue: &Queue, args: Checked<CropResizeArgs<'_, Wgpu>>) -> Result<()> {
    let CropResizeArgs { jobs, output } = args.into_inner();
    tables::crop_output(
        output,
        |shape| WgpuTensor::allocate(queue, shape),
        |out| WgpuTensor::download_all(queue, [out]).map(|[bytes]| bytes),
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

/// A picture's views.
fn patches(
    queue: &Queue,
    job: &CropJob<'_>,
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
    let tables = Tables::upload(queue, plan, table)?;
    // As many rows of the picture as a binding holds.
    let row_bytes = picture.width() as usize * 3;
    let most_rows = queue.max_binding as usize / row_bytes;
    if most_rows == 0 {
        let expected = format!("at most {} bytes", queue.max_binding);
        return Err(Error::argument("crop_resize picture", format!("{row_bytes} bytes a row"), expected));
    }
    let whole = picture.height() as usize <= most_rows;
    // The views of a larger picture go one by one, each with the rows that it needs.
    let step = if whole { rows_at_once(queue, &[per_view * columns]).min(queue.max_groups as usize) } else { 1 };
    let uploaded = if whole { Some(queue.upload(picture.pixels())?) } else { None };
    for batch in chunks(views.len(), step) {
        let batch_views = &views[batch.clone()];
        let rows = first_row + batch.start * per_view..first_row + batch.end * per_view;
        let window = out.window(queue, "crop_resize output", rows)?;
        let boxes = queue.upload(&tables::views(batch_views))?;
        let dispatch = |picture_rows: Range<u32>, pixels: &wgpu::Buffer, partial: &wgpu::Buffer, ends: [bool; 2]| {
            let params = Params {
                width: picture.width(),
                size,
                patch_side,
                first_row: picture_rows.start,
                end_row: picture_rows.end,
                out_base: window.base,
                is_first: u32::from(ends[0]),
                is_last: u32::from(ends[1]),
            };
            let all = Slice::all;
            let Tables { taps, weights, table } = &tables;
            let bindings = [all(pixels), all(&boxes), all(taps), all(weights), all(table), all(partial), window.slice];
            let tiles = size.div_ceil(TILE);
            let written = (4 * batch.len() * per_view * columns) as u64;
            let work =
                tables::crop_work(plan, batch_views, picture_rows.start as usize..picture_rows.end as usize, written);
            queue.record(&KERNEL, &[], &params, &bindings, [tiles, tiles, batch.len() as u32], work)
        };
        if let Some(pixels) = &uploaded {
            dispatch(0..picture.height(), pixels, &queue.buffer(4)?, [true, true])?;
            continue;
        }
        let view = &batch_views[0];
        let span = plan.taps()[view.vertical].span();
        let (top, bottom) = (view.y as usize + span.start, view.y as usize + span.end);
        let partial = queue.buffer(u64::from(size) * u64::from(size) * 3 * 4)?;
        for rows in chunks(bottom - top, most_rows) {
            let rows = top + rows.start..top + rows.end;
            let pixels = queue.upload(&picture.pixels()[rows.start * row_bytes..rows.end * row_bytes])?;
            let ends = [rows.start == top, rows.end == bottom];
            dispatch(rows.start as u32..rows.end as u32, &pixels, &partial, ends)?;
        }
    }
    Ok(())
}

/// The plan's taps, flat, and the normalised values.
struct Tables {
    taps: wgpu::Buffer,
    weights: wgpu::Buffer,
    table: wgpu::Buffer,
}

impl Tables {
    fn upload(queue: &Queue, plan: &CropPlan, table: &[f32]) -> Result<Self> {
        let (taps, weights) = tables::taps(plan);
        Ok(Self { taps: queue.upload(&taps)?, weights: queue.upload(&weights)?, table: queue.table(table)? })
    }
}
