//! `layer_norm`: each row to mean 0 and variance 1, then scale and shift.

use super::context::Context;
use super::element::Element;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{Checked, LayerNormArgs};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    rows: u32,
    width: u32,
    eps: f32,
    input_stride: u32,
    out_stride: u32,
}

pub(super) fn run(context: &Context, args: Checked<LayerNormArgs<'_, Cuda>>) -> Result<()> {
    let LayerNormArgs { input, gamma, beta, eps, out } = args.into_inner();
    let shape = input.shape();
    let kernel = match (input.element, out.element) {
        (Element::F32, Element::F32) => "layer_norm_f32_f32",
        (Element::F32, Element::F16) => "layer_norm_f32_f16",
        (Element::F16, Element::F32) => "layer_norm_f16_f32",
        (Element::F16, Element::F16) => "layer_norm_f16_f16",
    };
    let params = Params {
        rows: shape.rows as u32,
        width: shape.cols as u32,
        eps,
        input_stride: input.stride() as u32,
        out_stride: out.stride() as u32,
    };
    let memories = [&input.memory, gamma.f32("layer_norm gamma")?, beta.f32("layer_norm beta")?, &out.memory];
    let work = Work { bytes: input.bytes() + 2 * gamma.bytes() + out.bytes(), flops: 8 * shape.len() as u64 };
    context.launch(kernel, &params, &memories, Launch::rows(shape.rows), work)
}
