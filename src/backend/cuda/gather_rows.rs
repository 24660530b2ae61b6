//! `gather_rows`: a copy of chosen rows, converted to the output's element type.

use super::context::Context;
use super::element::Element;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{Checked, GatherRowsArgs};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    count: u32,
    first_row: u32,
    width: u32,
    input_stride: u32,
    out_stride: u32,
}

pub(super) fn run(context: &Context, args: Checked<GatherRowsArgs<'_, Cuda>>) -> Result<()> {
    let GatherRowsArgs { input, rows, first_row, out } = args.into_inner();
    let kernel = match (input.element, out.element) {
        (Element::F32, Element::F32) => "gather_rows_f32_f32",
        (Element::F32, Element::F16) => "gather_rows_f32_f16",
        (Element::F16, Element::F16) => "gather_rows_f16_f16",
        (Element::F16, Element::F32) => "gather_rows_f16_f32",
    };
    let params = Params {
        count: rows.len() as u32,
        first_row: first_row as u32,
        width: input.shape().cols as u32,
        input_stride: input.stride() as u32,
        out_stride: out.stride() as u32,
    };
    let indices = context.table(rows)?;
    let row = input.shape().cols * (input.element.bytes() + out.element.bytes());
    let work = Work { bytes: (rows.len() * (row + 4)) as u64, flops: 0 };
    context.launch(kernel, &params, &[&input.memory, &indices, &out.memory], Launch::blocks(rows.len(), 128), work)
}
