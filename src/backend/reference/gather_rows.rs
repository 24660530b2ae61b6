//! `gather_rows`: a copy of chosen rows.

use crate::backend::Reference;
use crate::backend::args::{Checked, GatherRowsArgs};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<GatherRowsArgs<'_, Reference>>) -> Result<()> {
    let GatherRowsArgs { input, rows, first_row, out } = args.into_inner();
    for (i, &row) in rows.iter().enumerate() {
        out.row_mut(first_row + i).copy_from_slice(input.row(row as usize));
    }
    Ok(())
}
