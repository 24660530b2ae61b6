//! `embed_tokens` and `add_positions`: the first rows of the text and the vision tower.

use super::context::Context;
use super::launch::Launch;
use super::tensor::Element;
use crate::backend::Cuda;
use crate::backend::args::{AddPositionsArgs, Checked, EmbedTokensArgs};
use crate::backend::{Shaped, Work};
use crate::error::Result;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct TokensParams {
    rows: u32,
    width: u32,
}

pub(super) fn tokens(context: &Context, args: Checked<EmbedTokensArgs<'_, Cuda>>) -> Result<()> {
    let EmbedTokensArgs { tokens, offsets, table, positions, out } = args.into_inner();
    let places = offsets.windows(2).flat_map(|sequence| 0..sequence[1] - sequence[0]);
    let placed: Vec<[u32; 2]> = tokens.iter().zip(places).map(|(&token, place)| [token, place]).collect();
    let placed = context.upload(&placed)?;
    let params = TokensParams { rows: tokens.len() as u32, width: table.shape().cols as u32 };
    let memories = [
        &placed,
        table.f32("embed_tokens table")?,
        positions.f32("embed_tokens positions")?,
        out.f32("embed_tokens output")?,
    ];
    let work = Work { bytes: 3 * out.bytes() + 8 * tokens.len() as u64, flops: out.shape().len() as u64 };
    context.launch("embed_tokens", &params, &memories, Launch::blocks(tokens.len(), 128), work)
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct PositionsParams {
    rows: u32,
    width: u32,
    tokens: u32,
    patches_stride: u32,
}

pub(super) fn add_positions(context: &Context, args: Checked<AddPositionsArgs<'_, Cuda>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let kernel = match patches.element {
        Element::F32 => "add_positions_f32",
        Element::F16 => "add_positions_f16",
    };
    let params = PositionsParams {
        rows: out.shape().rows as u32,
        width: out.shape().cols as u32,
        tokens: positions.shape().rows as u32,
        patches_stride: patches.stride() as u32,
    };
    let memories = [
        &patches.memory,
        class.f32("add_positions class")?,
        positions.f32("add_positions positions")?,
        out.f32("add_positions output")?,
    ];
    let bytes = patches.bytes() + class.bytes() + positions.bytes() + out.bytes();
    let work = Work { bytes, flops: out.shape().len() as u64 };
    context.launch(kernel, &params, &memories, Launch::blocks(out.shape().rows, 128), work)
}
