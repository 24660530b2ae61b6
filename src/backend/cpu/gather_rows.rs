//! `gather_rows`: a copy of chosen rows.

use crate::backend::{HostTensor, Shaped, contract};
use crate::error::Result;

pub(super) fn run(input: &HostTensor, rows: &[u32], out: &mut HostTensor) -> Result<()> {
    contract::gather_rows(input.shape(), rows, out.shape())?;
    for (i, &row) in rows.iter().enumerate() {
        out.row_mut(i).copy_from_slice(input.row(row as usize));
    }
    Ok(())
}
