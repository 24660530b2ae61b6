//! `embed_tokens`: each token's row of the table plus that of its position.

use super::context::Context;
use super::element::Element;
use super::launch::Launch;
use crate::backend::Cuda;
use crate::backend::args::{Checked, EmbedTokensArgs};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    rows: u32,
    width: u32,
    out_stride: u32,
}

pub(super) fn run(context: &Context, args: Checked<EmbedTokensArgs<'_, Cuda>>) -> Result<()> {
    let EmbedTokensArgs { tokens, offsets, table, positions, out } = args.into_inner();
    let places = offsets.windows(2).flat_map(|sequence| 0..sequence[1] - sequence[0]);
    let placed: Vec<[u32; 2]> = tokens.iter().zip(places).map(|(&token, place)| [token, place]).collect();
    let placed = context.upload(&placed)?;
    let kernel = match out.element {
        Element::F32 => "embed_tokens_f32",
        Element::F16 => "embed_tokens_f16",
    };
    let params =
        Params { rows: tokens.len() as u32, width: table.shape().cols as u32, out_stride: out.stride() as u32 };
    let memories = [&placed, table.f32("embed_tokens table")?, positions.f32("embed_tokens positions")?, &out.memory];
    let read = 8 * (out.shape().len() + tokens.len()) as u64;
    let work = Work { bytes: read + out.bytes(), flops: out.shape().len() as u64 };
    context.launch(kernel, &params, &memories, Launch::blocks(tokens.len(), 128), work)
}
