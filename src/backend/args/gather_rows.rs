//! Arguments of `gather_rows`.

use super::{KernelArgs, expect_indices};
use crate::backend::{Backend, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::gather_rows`].
pub struct GatherRowsArgs<'a, B: Backend> {
    /// `[·, D]`
    pub input: &'a B::Tensor,
    /// Which rows of `input`.
    pub rows: &'a [u32],
    /// The first row of `out` to write; the others stay.
    pub first_row: usize,
    /// `[at least first_row + rows, D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for GatherRowsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let input = self.input.shape();
        let (out, end) = (self.out.shape(), self.first_row.checked_add(self.rows.len()));
        if out.cols != input.cols || end.is_none_or(|end| end > out.rows) {
            let expected = format!("[at least {} + {}, {}]", self.first_row, self.rows.len(), input.cols);
            return Err(Error::argument("gather_rows output", out.to_string(), expected));
        }
        expect_indices("gather_rows row", self.rows, input.rows)
    }
}
