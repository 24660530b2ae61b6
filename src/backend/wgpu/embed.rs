//! `embed_tokens` and `add_positions`: the first rows of the text and the vision tower.

use super::pipeline::kernels::{add_positions, embed_tokens};
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{AddPositionsArgs, Checked, EmbedTokensArgs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn tokens(queue: &Queue, args: Checked<EmbedTokensArgs<'_, Wgpu>>) -> Result<()> {
    let EmbedTokensArgs { tokens, offsets, table, positions, out } = args.into_inner();
    let places = offsets.windows(2).flat_map(|sequence| 0..sequence[1] - sequence[0]);
    let placed: Vec<[u32; 2]> = tokens.iter().zip(places).map(|(&token, place)| [token, place]).collect();
    let positions = positions.whole(queue, "embed_tokens positions")?;
    let width = table.shape().cols;
    let step = rows_at_once(queue, &[width, 2]);
    for rows in chunks(tokens.len(), step) {
        let placed = &placed[rows.clone()];
        let tokens = queue.upload(placed)?;
        let out = out.window(queue, "embed_tokens output", rows.clone())?;
        for part in chunks(table.shape().rows, step) {
            let table = table.window(queue, "embed_tokens table", part.clone())?;
            let params = embed_tokens::Params {
                rows: rows.len() as u32,
                width: width as u32,
                first: part.start as u32,
                end: part.end as u32,
                table_base: table.base,
                out_base: out.base,
            };
            let bindings = [tokens.slice(..), table.slice, positions, out.slice];
            let found = placed.iter().filter(|[token, _]| part.contains(&(*token as usize))).count();
            let work = Work::words(3 * found * width + 2 * rows.len(), found * width);
            queue.record(&embed_tokens::KERNEL, &[], &params, &bindings, queue.groups(rows.len()), work)?;
        }
    }
    Ok(())
}

pub(super) fn add_positions(queue: &Queue, args: Checked<AddPositionsArgs<'_, Wgpu>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let views = patches.shape().rows / (positions.shape().rows - 1);
    let (tokens, width) = (positions.shape().rows, patches.shape().cols);
    let class = class.whole(queue, "add_positions class")?;
    let positions = positions.whole(queue, "add_positions positions")?;
    for views in chunks(views, rows_at_once(queue, &[tokens * width])) {
        let (first, end) = (views.start, views.end);
        let patches = patches.window(queue, "add_positions patches", first * (tokens - 1)..end * (tokens - 1))?;
        let out = out.window(queue, "add_positions output", first * tokens..end * tokens)?;
        let rows = views.len() * tokens;
        let params = add_positions::Params {
            rows: rows as u32,
            width: width as u32,
            tokens: tokens as u32,
            patches_base: patches.base,
            out_base: out.base,
        };
        let bindings = [patches.slice, class, positions, out.slice];
        let work = Work::words((views.len() * (tokens - 1) + tokens + 1 + rows) * width, rows * width);
        queue.record(&add_positions::KERNEL, &[], &params, &bindings, queue.groups(rows), work)?;
    }
    Ok(())
}
