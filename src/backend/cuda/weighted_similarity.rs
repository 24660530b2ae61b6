//! `weighted_similarity`: tiles of views · textsᵀ reduced as they are computed, one block for each class of a picture.

use super::context::Context;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{Checked, WeightedSimilarityArgs};
use crate::backend::gpu::weighted_similarity::best;
use crate::backend::{Precision, Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    width: u32,
    stride: u32,
    best: u32,
    classes: u32,
}

pub(super) fn run(context: &Context, args: Checked<WeightedSimilarityArgs<'_, Cuda>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, pictures, classes, reduction, out } =
        args.into_inner();
    let (v, t) = (views.shape(), texts.shape());
    let (kernel, threads) = match texts.storage {
        Precision::F32 => ("weighted_similarity_f32", 64),
        // Runs on tensor cores.
        Precision::F16 => ("weighted_similarity_f16", 128),
        Precision::Bf16 | Precision::Int8 => ("weighted_similarity_bf16", 64),
    };
    let count = classes.len() - 1;
    let (width, stride) = (v.cols as u32, texts.stride() as u32);
    let params = Params { width, stride, best: best(reduction), classes: count as u32 };
    let (bounds, owners) = (context.table(classes)?, context.table(pictures)?);
    let memories = [
        views.f32("weighted_similarity views")?,
        view_weights.f32("weighted_similarity view weights")?,
        &texts.weight,
        text_weights.f32("weighted_similarity text weights")?,
        &owners,
        &bounds,
        out.f32("weighted_similarity output")?,
    ];
    let bytes = views.bytes() + view_weights.bytes() + texts.bytes() + text_weights.bytes() + out.bytes();
    let work = Work { bytes, flops: 2 * (v.len() * t.rows) as u64 };
    let launch = Launch { grid: [count, pictures.len() - 1, 1], block: [threads, 1], shared: 0 };
    context.launch(kernel, &params, &memories, launch, work)
}
