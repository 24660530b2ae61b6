//! Arguments of `attention`.

use super::{KernelArgs, expect_offsets, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::attention`].
pub struct AttentionArgs<'a, B: Backend> {
    /// `[Q, D]`
    pub queries: &'a B::Tensor,
    /// `[R, 2·D]`: keys in the first `D` columns, values in the others.
    pub keys_values: &'a B::Tensor,
    /// Sequence `s` owns the query rows `query_offsets[s] .. query_offsets[s+1]`.
    pub query_offsets: &'a [u32],
    /// And the key rows `key_offsets[s] .. key_offsets[s+1]`, at least as many.
    pub key_offsets: &'a [u32],
    /// Head `h` takes columns `h·d .. (h+1)·d` with `d = D / heads`.
    pub heads: usize,
    /// A sequence's queries are its last positions: query `i` of `n` then sees the first `keys − n + i + 1` keys.
    pub causal: bool,
    /// `[Q, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AttentionArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (queries, keys_values) = (self.queries.shape(), self.keys_values.shape());
        let (query_offsets, key_offsets, heads) = (self.query_offsets, self.key_offsets, self.heads);
        if heads == 0 || queries.cols == 0 || !queries.cols.is_multiple_of(heads) {
            let expected = format!("a divisor of the width {}", queries.cols);
            return Err(Error::argument("attention heads", heads.to_string(), expected));
        }
        expect_shape("attention keys and values", keys_values, Shape::new(keys_values.rows, 2 * queries.cols))?;
        expect_shape("attention output", self.out.shape(), queries)?;
        expect_offsets("attention query offsets", query_offsets, queries.rows)?;
        expect_offsets("attention key offsets", key_offsets, keys_values.rows)?;
        let length = |offsets: &[u32], s: usize| offsets[s + 1] - offsets[s];
        let fits = |s| length(query_offsets, s) <= length(key_offsets, s);
        if query_offsets.len() != key_offsets.len() || !(0..query_offsets.len() - 1).all(fits) {
            let found = format!("{} query and {} key offsets", query_offsets.len(), key_offsets.len());
            return Err(Error::argument(
                "attention offsets",
                found,
                "as many, no sequence with more queries than keys",
            ));
        }
        Ok(())
    }
}
