//! `alignment_weights`: the softmax of each segment's cosines to its anchor.

use super::context::Context;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{AlignmentWeightsArgs, Checked};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    width: u32,
    scale: f32,
    segments: u32,
}

pub(super) fn run(context: &Context, args: Checked<AlignmentWeightsArgs<'_, Cuda>>) -> Result<()> {
    let AlignmentWeightsArgs { rows, anchors, offsets, scale, lengths, out } = args.into_inner();
    let segments = offsets.len() - 1;
    let params = Params { width: rows.shape().cols as u32, scale, segments: segments as u32 };
    let bounds = context.table(offsets)?;
    let memories = [
        rows.f32("alignment_weights rows")?,
        anchors.f32("alignment_weights anchors")?,
        &bounds,
        lengths.f32("alignment_weights lengths")?,
        out.f32("alignment_weights output")?,
    ];
    let bytes = rows.bytes() + anchors.bytes() + out.bytes();
    let work = Work { bytes, flops: 4 * rows.shape().len() as u64 };
    context.launch("alignment_weights", &params, &memories, Launch::blocks(segments, 256), work)
}
