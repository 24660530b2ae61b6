//! `embed_tokens` and `add_positions`: the first rows of the text and the vision tower.

use crate::backend::args::{AddPositionsArgs, Checked, EmbedTokensArgs};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

pub(super) fn tokens(_: &Reference, args: Checked<EmbedTokensArgs<'_, Reference>>) -> Result<()> {
    let EmbedTokensArgs { tokens, offsets, table, positions, out } = args.into_inner();
    for sequence in offsets.windows(2) {
        for (position, row) in (sequence[0] as usize..sequence[1] as usize).enumerate() {
            sum(table.row(tokens[row] as usize), positions.row(position), out.row_mut(row));
        }
    }
    Ok(())
}

pub(super) fn add_positions(_: &Reference, args: Checked<AddPositionsArgs<'_, Reference>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let views = patches.shape().rows / (positions.shape().rows - 1);
    let tokens = positions.shape().rows;
    for view in 0..views {
        sum(class.row(0), positions.row(0), out.row_mut(view * tokens));
        for patch in 0..tokens - 1 {
            let row = patches.row(view * (tokens - 1) + patch);
            sum(row, positions.row(1 + patch), out.row_mut(view * tokens + 1 + patch));
        }
    }
    Ok(())
}

fn sum(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = a + b);
}
