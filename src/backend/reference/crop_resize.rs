//! `crop_resize`: cut, resample, normalise and patchify.

use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::{CropJob, CropOutput, HostTensor, PRECISION_BITS, PatchLayout, Reference, Rgb, Taps};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<CropResizeArgs<'_, '_, Reference>>) -> Result<()> {
    let CropResizeArgs { jobs, mut output } = args.into_inner();
    let views = jobs.iter().flat_map(|job| job.views().iter().map(move |view| (job, view)));
    for (i, (CropJob { picture, plan, .. }, view)) in views.enumerate() {
        let size = plan.size() as usize;
        let (horizontal, vertical) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        let bytes = resample(**picture, view.x as usize, view.y as usize, horizontal, vertical);
        match &mut output {
            CropOutput::Bytes(out) => out[i * bytes.len()..][..bytes.len()].copy_from_slice(&bytes),
            CropOutput::Patches { layout, first_row, out } => {
                let patches = (size / layout.patch() as usize).pow(2);
                patchify(&bytes, size, layout, *first_row + i * patches, out);
            }
        }
    }
    Ok(())
}

/// `clip8((2²¹ + Σ w·v) >> 22)`
fn weigh(weights: &[i32], value: impl Fn(usize) -> u8) -> u8 {
    let half = 1i32 << (PRECISION_BITS - 1);
    let sum = weights.iter().enumerate().fold(half, |sum, (i, &weight)| sum + weight * i32::from(value(i)));
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

/// Both passes; returns `[S, S, 3]`.
fn resample(picture: Rgb<'_>, x0: usize, y0: usize, horizontal: &Taps, vertical: &Taps) -> Vec<u8> {
    let at = |x: usize, y: usize, c: usize| picture.pixels()[(y * picture.width() as usize + x) * 3 + c];
    let size = horizontal.len();
    let rows = vertical.span();
    let mut middle = Vec::with_capacity(rows.len() * size * 3);
    for y in rows.clone() {
        for x in 0..size {
            let (start, weights) = horizontal.get(x);
            middle.extend((0..3).map(|c| weigh(weights, |i| at(x0 + start + i, y0 + y, c))));
        }
    }
    let mut out = Vec::with_capacity(size * size * 3);
    for y in 0..size {
        let (start, weights) = vertical.get(y);
        for column in 0..size * 3 {
            out.push(weigh(weights, |i| middle[(start - rows.start + i) * size * 3 + column]));
        }
    }
    out
}

/// Normalises a view `[S, S, 3]` into its rows of the patch matrix.
fn patchify(view: &[u8], size: usize, layout: &PatchLayout, first_row: usize, out: &mut HostTensor) {
    let patch = layout.patch() as usize;
    for y in 0..size {
        for x in 0..size {
            let row = first_row + (y / patch) * (size / patch) + x / patch;
            for c in 0..3 {
                let column = (c * patch + y % patch) * patch + x % patch;
                out.row_mut(row)[column] = layout.table()[c][view[(y * size + x) * 3 + c] as usize];
            }
        }
    }
}
