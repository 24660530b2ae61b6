//! Arguments of `embed_tokens`.

use super::{KernelArgs, expect_indices, expect_offsets, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::embed_tokens`].
pub struct EmbedTokensArgs<'a, B: Backend> {
    /// A row of the table each.
    pub tokens: &'a [u32],
    /// Sequence `s` owns the rows `offsets[s] .. offsets[s+1]`.
    pub offsets: &'a [u32],
    /// `[vocabulary, D]`
    pub table: &'a B::Tensor,
    /// `[context, D]`
    pub positions: &'a B::Tensor,
    /// `[tokens, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for EmbedTokensArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (table, positions, count) = (self.table.shape(), self.positions.shape(), self.tokens.len());
        expect_shape("embed_tokens positions", positions, Shape::new(positions.rows, table.cols))?;
        expect_shape("embed_tokens output", self.out.shape(), Shape::new(count, table.cols))?;
        expect_indices("embed_tokens token", self.tokens, table.rows)?;
        expect_offsets("embed_tokens offsets", self.offsets, count)?;
        match self.offsets.windows(2).map(|w| (w[1] - w[0]) as usize).find(|&length| length > positions.rows) {
            None => Ok(()),
            Some(length) => {
                let expected = format!("at most {} tokens", positions.rows);
                Err(Error::argument("embed_tokens sequence", format!("{length} tokens"), expected))
            }
        }
    }
}
