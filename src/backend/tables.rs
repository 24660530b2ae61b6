//! What the GPU backends lay out on the host for their kernels to read.

use super::{CropPlan, CropView, Precision, Shape, Taps, Work, contract};
use crate::error::{Error, Result};
use half::{bf16, f16};

/// A plan's taps, flat: for each output pixel of each set the first pixel, the first weight and the number of weights;
/// and all weights.
pub(super) fn taps(plan: &CropPlan) -> (Vec<[u32; 4]>, Vec<i32>) {
    let (mut taps, mut weights) = (Vec::new(), Vec::new());
    for (start, its_weights) in plan.taps().iter().flat_map(|set: &Taps| (0..set.len()).map(|i| set.get(i))) {
        taps.push([start as u32, weights.len() as u32, its_weights.len() as u32, 0]);
        weights.extend_from_slice(its_weights);
    }
    (taps, weights)
}

/// Each view's left and upper edge, and the sets of taps of its columns and of its rows.
pub(super) fn views(views: &[CropView]) -> Vec<[u32; 4]> {
    views.iter().map(|view| [view.x, view.y, view.horizontal as u32, view.vertical as u32]).collect()
}

/// Each view's box once, a byte a channel, as far as it is in these rows of the picture, and what is written; the
/// multiply-adds of both passes on those rows.
pub(super) fn crop_work(plan: &CropPlan, views: &[CropView], rows: std::ops::Range<usize>, written: u64) -> Work {
    let mut work = Work { bytes: written, flops: 0 };
    for view in views {
        let (across, down) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        let taps = |set: &Taps| (0..set.len()).map(|i| set.get(i).1.len()).sum::<usize>();
        let (top, bottom) = (view.y as usize + down.span().start, view.y as usize + down.span().end);
        let height = bottom.min(rows.end).saturating_sub(top.max(rows.start));
        work.bytes += (3 * height * across.span().len()) as u64;
        let vertical = across.len() * taps(down) * height / down.span().len().max(1);
        work.flops += (6 * (height * taps(across) + vertical)) as u64;
    }
    work
}

/// What a workgroup of `attention` does, up to `at_once` queries: their first row and number, the first key's row, and
/// how many keys the first query sees. Rows are counted from the first offsets.
pub(super) fn attention_items(query_offsets: &[u32], key_offsets: &[u32], at_once: u32, causal: bool) -> Vec<[u32; 4]> {
    let mut items = Vec::new();
    for (q, k) in query_offsets.windows(2).zip(key_offsets.windows(2)) {
        let (queries, keys) = (q[1] - q[0], k[1] - k[0]);
        for first in (0..queries).step_by(at_once as usize) {
            let visible = if causal { keys - queries + first + 1 } else { keys };
            let count = (queries - first).min(at_once);
            items.push([q[0] - query_offsets[0] + first, count, k[0] - key_offsets[0], visible]);
        }
    }
    items
}

/// Pairs of a query and a key that it sees, in all.
pub(super) fn attention_pairs(items: &[[u32; 4]], causal: bool) -> usize {
    let pairs = |&[_, count, _, visible]: &[u32; 4]| {
        let (count, visible) = (count as usize, visible as usize);
        count * visible + if causal { count * count.saturating_sub(1) / 2 } else { 0 }
    };
    items.iter().map(pairs).sum()
}

/// A layer's weights as bytes in their storage precision, each row padded with zeros to `stride` elements; and its bias.
pub(super) fn layer(
    shape: Shape,
    weight: &[f32],
    bias: Option<&[f32]>,
    precision: Precision,
    stride: usize,
) -> Result<(Vec<u8>, Vec<f32>)> {
    contract::pack(shape, weight, bias)?;
    let rows = weight.chunks_exact(shape.cols);
    let padding = || std::iter::repeat_n(0.0, stride - shape.cols);
    let padded = rows.flat_map(|row| row.iter().copied().chain(padding()));
    let bytes = match precision {
        Precision::F32 => padded.flat_map(f32::to_ne_bytes).collect(),
        Precision::F16 => padded.flat_map(|w| f16::from_f32(w).to_ne_bytes()).collect(),
        Precision::Bf16 => padded.flat_map(|w| bf16::from_f32(w).to_ne_bytes()).collect(),
        Precision::Int8 => return Err(Error::argument("precision", "int8", "f32, f16 or bf16 on a GPU")),
    };
    Ok((bytes, bias.map_or_else(|| vec![0.0; shape.rows], <[f32]>::to_vec)))
}
