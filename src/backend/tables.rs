//! What the GPU backends lay out on the host for their kernels to read.

use super::args::check_layer;
use super::{CropOutput, CropPlan, CropView, Precision, Reduction, Shape, Taps, Work};
use crate::error::{Error, Result};
use crate::lock::lock;
use half::{bf16, f16};
use std::collections::HashMap;
use std::sync::Mutex;

/// Bytes of tables that a device keeps; beyond that they are forgotten.
const KEPT: usize = 16 << 20;

/// Tables that are on a device, by their content: a forward pass needs the same ones in each layer and each time.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<HashMap<Vec<u8>, T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    /// The table that holds `content`: uploaded where it is not there yet.
    pub(super) fn get(&self, content: &[u8], upload: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut kept = lock(&self.0);
        if let Some(table) = kept.get(content) {
            return Ok(table.clone());
        }
        if kept.keys().map(Vec::len).sum::<usize>() + content.len() > KEPT {
            kept.clear();
        }
        let table = upload()?;
        kept.insert(content.to_vec(), table.clone());
        Ok(table)
    }

    /// Forgets all tables, unless one is on its way.
    pub(super) fn clear(&self) {
        if let Ok(mut kept) = self.0.try_lock() {
            kept.clear();
        }
    }
}

/// Both outputs of `crop_resize` by one kernel, which writes patches of a side, with each byte's value, from a row on.
pub(super) fn crop_output<T>(
    output: CropOutput<'_, T>,
    allocate: impl FnOnce(Shape) -> Result<T>,
    download: impl FnOnce(&T) -> Result<Vec<f32>>,
    patches: impl FnOnce(u32, &[f32], usize, &mut T) -> Result<()>,
) -> Result<()> {
    match output {
        CropOutput::Patches { layout, first_row, out } => {
            patches(layout.patch(), layout.table().as_flattened(), first_row, out)
        }
        // Bytes are patches of one pixel, each byte as the number that it is.
        CropOutput::Bytes(bytes) => {
            let values: Vec<f32> = (0..3 * 256).map(|i| (i % 256) as f32).collect();
            let mut out = allocate(Shape::new(bytes.len() / 3, 3))?;
            patches(1, &values, 0, &mut out)?;
            bytes.iter_mut().zip(download(&out)?).for_each(|(byte, x)| *byte = x as u8);
            Ok(())
        }
    }
}

/// How many of a class's texts count, as `weighted_similarity` takes it: 0 for all of them, as a weighted sum.
pub(super) fn best(reduction: Reduction) -> u32 {
    match reduction {
        Reduction::WeightedMean => 0,
        // More than a class has is all of it.
        Reduction::BestMean(k) => u32::try_from(k).unwrap_or(u32::MAX),
    }
}

/// A plan's taps, flat, behind those of other plans: for each output pixel of each set the first pixel, the first weight and
/// the number of weights; and all weights.
pub(super) fn add_taps(plan: &CropPlan, taps: &mut Vec<[u32; 4]>, weights: &mut Vec<i32>) {
    for (start, its_weights) in plan.taps().iter().flat_map(|set: &Taps| (0..set.len()).map(|i| set.get(i))) {
        taps.push([start as u32, weights.len() as u32, its_weights.len() as u32, 0]);
        weights.extend_from_slice(its_weights);
    }
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
    check_layer(shape, weight, bias)?;
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
