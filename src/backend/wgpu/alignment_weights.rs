//! `alignment_weights`: the softmax of each segment's cosines to its anchor.

use super::pipeline::kernels::alignment_weights::{KERNEL, Params};
use super::queue::Queue;
use super::tensor::{rows_at_once, segment_batches};
use crate::backend::args::{AlignmentWeightsArgs, Checked};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<AlignmentWeightsArgs<'_, Wgpu>>) -> Result<()> {
    let AlignmentWeightsArgs { rows, anchors, offsets, scale, lengths, out } = args.into_inner();
    let width = rows.shape().cols;
    let anchors = anchors.whole(queue, "alignment_weights anchors")?;
    let out = out.whole(queue, "alignment_weights output")?;
    let lengths = lengths.whole(queue, "alignment_weights lengths")?;
    let bounds = queue.table(offsets)?;
    for segments in segment_batches(&[(offsets, rows_at_once(queue, &[width]).min(queue.at_once(4 * width)))]) {
        let first_row = offsets[segments.start];
        let count = (offsets[segments.end] - first_row) as usize;
        let rows = rows.window(queue, "alignment_weights rows", first_row as usize..first_row as usize + count)?;
        let params = Params {
            width: width as u32,
            scale,
            first_segment: segments.start as u32,
            segments: segments.len() as u32,
            first_row,
            rows_base: rows.base,
        };
        let bindings = [rows.slice, anchors, bounds.slice(..), lengths, out];
        let work = Work::words((count + segments.len()) * width + count, 4 * count * width);
        queue.record(&KERNEL, &[], &params, &bindings, queue.groups(segments.len()), work)?;
    }
    Ok(())
}
