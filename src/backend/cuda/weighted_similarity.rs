//! `weighted_similarity`: tiles of F·Gᵀ reduced as they are made, one class a block.

use super::context::{Context, Launch};
use super::linear::CudaLinear;
use super::tensor::CudaTensor;
use crate::backend::{Precision, Reduction, Shaped, Work, contract, tables};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    views: u32,
    width: u32,
    stride: u32,
    best: u32,
    classes: u32,
}

#[expect(clippy::too_many_arguments, reason = "the trait's parameters and the context")]
pub(super) fn run(
    context: &Context,
    views: &CudaTensor,
    view_weights: &CudaTensor,
    texts: &CudaLinear,
    text_weights: &CudaTensor,
    classes: &[u32],
    reduction: Reduction,
    out: &mut CudaTensor,
) -> Result<()> {
    let (v, t) = (views.shape(), texts.shape());
    let (view_shape, text_shape) = (view_weights.shape(), text_weights.shape());
    contract::weighted_similarity(v, view_shape, t, text_shape, classes, reduction, out.shape())?;
    let (kernel, threads) = match texts.storage {
        Precision::F32 => ("weighted_similarity_f32", 64),
        // On tensor cores.
        Precision::F16 => ("weighted_similarity_f16", 128),
        Precision::Bf16 | Precision::Int8 => ("weighted_similarity_bf16", 64),
    };
    let count = classes.len() - 1;
    let (width, stride) = (v.cols as u32, texts.stride() as u32);
    let params = Params { views: v.rows as u32, width, stride, best: tables::best(reduction), classes: count as u32 };
    let bounds = context.table(classes)?;
    let memories = [
        views.f32("weighted_similarity views")?,
        view_weights.f32("weighted_similarity view weights")?,
        &texts.weight,
        text_weights.f32("weighted_similarity text weights")?,
        &bounds,
        out.f32("weighted_similarity output")?,
    ];
    let bytes = views.bytes() + view_weights.bytes() + texts.bytes() + text_weights.bytes() + out.bytes();
    let work = Work { bytes, flops: 2 * (v.len() * t.rows) as u64 };
    context.launch(kernel, &params, &memories, Launch::blocks(count, threads), work)
}
