//! `embed_tokens`: each token's row of the table plus that of its position.

use super::Cpu;
use super::add_positions::sum;
use crate::backend::args::{Checked, EmbedTokensArgs};
use crate::error::Result;

pub(super) fn run(_: &Cpu, args: Checked<EmbedTokensArgs<'_, Cpu>>) -> Result<()> {
    let EmbedTokensArgs { tokens, offsets, table, positions, out } = args.into_inner();
    for sequence in offsets.windows(2) {
        for (position, row) in (sequence[0] as usize..sequence[1] as usize).enumerate() {
            sum(table.row(tokens[row] as usize), positions.row(position), out.row_mut(row));
        }
    }
    Ok(())
}
