//! `add_positions`: the class token in front of each view's patches, and the positions.

use super::context::Context;
use super::element::Element;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{AddPositionsArgs, Checked};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    rows: u32,
    width: u32,
    tokens: u32,
    patches_stride: u32,
    out_stride: u32,
}

pub(super) fn run(context: &Context, args: Checked<AddPositionsArgs<'_, Cuda>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let kernel = match (patches.element, out.element) {
        (Element::F32, Element::F32) => "add_positions_f32_f32",
        (Element::F32, Element::F16) => "add_positions_f32_f16",
        (Element::F16, Element::F32) => "add_positions_f16_f32",
        (Element::F16, Element::F16) => "add_positions_f16_f16",
    };
    let params = Params {
        rows: out.shape().rows as u32,
        width: out.shape().cols as u32,
        tokens: positions.shape().rows as u32,
        patches_stride: patches.stride() as u32,
        out_stride: out.stride() as u32,
    };
    let memories =
        [&patches.memory, class.f32("add_positions class")?, positions.f32("add_positions positions")?, &out.memory];
    let bytes = patches.bytes() + class.bytes() + positions.bytes() + out.bytes();
    let work = Work { bytes, flops: out.shape().len() as u64 };
    context.launch(kernel, &params, &memories, Launch::blocks(out.shape().rows, 128), work)
}
