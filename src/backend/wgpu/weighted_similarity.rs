//! `weighted_similarity`: tiles of F·Gᵀ reduced as they are made, one class a workgroup.

use super::pipeline::kernels::weighted_similarity::KERNEL;
use super::queue::{Queue, Slice};
use super::tensor::{rows_at_once, segment_batches};
use crate::backend::Wgpu;
use crate::backend::args::{Checked, WeightedSimilarityArgs};
use crate::backend::{Shaped, Work, tables};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    views: u32,
    width: u32,
    stride: u32,
    best: u32,
    first_class: u32,
    classes: u32,
    first_text: u32,
    texts_base: u32,
}

pub(super) fn run(queue: &Queue, args: Checked<WeightedSimilarityArgs<'_, Wgpu>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, classes, reduction, out } =
        args.into_inner();
    let (v, _t) = (views.shape(), texts.shape());
    let (_view_shape, _text_shape) = (view_weights.shape(), text_weights.shape());
    let views = views.whole(queue, "weighted_similarity views")?;
    let view_weights = view_weights.whole(queue, "weighted_similarity view weights")?;
    let text_weights = text_weights.whole(queue, "weighted_similarity text weights")?;
    let out = out.whole(queue, "weighted_similarity output")?;
    let uploaded = queue.table(classes)?;
    let bounds = Slice::all(&uploaded);
    for batch in segment_batches(&[(classes, rows_at_once(queue, &[texts.words()]))]) {
        let first_text = classes[batch.start];
        let rows = first_text as usize..classes[batch.end] as usize;
        let window = texts.window(queue, "weighted_similarity texts", rows.clone())?;
        let params = Params {
            views: v.rows as u32,
            width: v.cols as u32,
            stride: texts.stride() as u32,
            best: tables::best(reduction),
            first_class: batch.start as u32,
            classes: batch.len() as u32,
            first_text,
            texts_base: window.base,
        };
        let bindings = [views, view_weights, window.slice, text_weights, bounds, out];
        let words = v.len() + v.rows + rows.len() * (texts.words() + 1) + batch.len();
        let work = Work::words(words, 2 * v.len() * rows.len());
        queue.record(&KERNEL, &[texts.storage()], &params, &bindings, queue.groups(batch.len()), work)?;
    }
    Ok(())
}
