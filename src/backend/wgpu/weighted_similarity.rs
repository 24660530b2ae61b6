//! `weighted_similarity`: tiles of views · textsᵀ reduced as they are computed, one workgroup for each class of a
//! picture.

use super::pipeline::kernels::weighted_similarity::{KERNEL, Params};
use super::queue::Queue;
use super::tensor::{rows_at_once, segment_batches};
use crate::backend::args::{Checked, WeightedSimilarityArgs};
use crate::backend::gpu::weighted_similarity::best;
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<WeightedSimilarityArgs<'_, Wgpu>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, pictures, classes, reduction, out } =
        args.into_inner();
    let v = views.shape();
    let views = views.whole(queue, "weighted_similarity views")?;
    let view_weights = view_weights.whole(queue, "weighted_similarity view weights")?;
    let text_weights = text_weights.whole(queue, "weighted_similarity text weights")?;
    let out = out.whole(queue, "weighted_similarity output")?;
    let (owners, bounds) = (queue.table(pictures)?, queue.table(classes)?);
    let most_views = pictures.windows(2).map(|views| (views[1] - views[0]) as usize).max().unwrap_or(0);
    let most_texts = rows_at_once(queue, &[texts.words()]).min(queue.at_once(2 * v.cols * most_views));
    let numbers: Vec<u32> = (0..pictures.len() as u32).collect();
    for batch in segment_batches(&[(classes, most_texts)]) {
        let first_text = classes[batch.start];
        let rows = first_text as usize..classes[batch.end] as usize;
        let window = texts.window(queue, "weighted_similarity texts", rows.clone())?;
        let views_at_once = queue.at_once(2 * v.cols * rows.len());
        for together in segment_batches(&[(pictures, views_at_once), (&numbers, queue.max_groups as usize)]) {
            let params = Params {
                width: v.cols as u32,
                stride: texts.stride as u32,
                best: best(reduction),
                first_class: batch.start as u32,
                classes: batch.len() as u32,
                all_classes: classes.len() as u32 - 1,
                first_text,
                texts_base: window.base,
                first_picture: together.start as u32,
            };
            let bindings = [views, view_weights, window.slice, text_weights, owners.slice(..), bounds.slice(..), out];
            let seen = (pictures[together.end] - pictures[together.start]) as usize;
            let words = seen * (v.cols + 1) + rows.len() * (texts.words() + 1) + together.len() * batch.len();
            let work = Work::words(words, 2 * seen * v.cols * rows.len());
            let [x, y, _] = queue.groups(batch.len());
            queue.record(&KERNEL, &[texts.storage()], &params, &bindings, [x, y, together.len() as u32], work)?;
        }
    }
    Ok(())
}
