//! `embed_tokens`: each token's row of the table plus that of its position.

use super::pipeline::kernels::embed_tokens;
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{Checked, EmbedTokensArgs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<EmbedTokensArgs<'_, Wgpu>>) -> Result<()> {
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
