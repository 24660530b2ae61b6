//! `gather_rows`: a copy of chosen rows.

use super::pipeline::kernels::gather_rows::{KERNEL, Params};
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{Checked, GatherRowsArgs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<GatherRowsArgs<'_, Wgpu>>) -> Result<()> {
    let GatherRowsArgs { input, rows, first_row, out } = args.into_inner();
    let width = input.shape().cols;
    let step = rows_at_once(queue, &[width]);
    for range in chunks(rows.len(), step) {
        let indices = queue.table(&rows[range.clone()])?;
        let out = out.window(queue, "gather_rows output", first_row + range.start..first_row + range.end)?;
        for source in chunks(input.shape().rows, step) {
            let input = input.window(queue, "gather_rows input", source.clone())?;
            let params = Params {
                count: range.len() as u32,
                width: width as u32,
                first: source.start as u32,
                end: source.end as u32,
                input_base: input.base,
                out_base: out.base,
            };
            let copied = rows[range.clone()].iter().filter(|&&row| source.contains(&(row as usize))).count();
            let work = Work::words(2 * copied * width + range.len(), 0);
            let bindings = [input.slice, indices.slice(..), out.slice];
            queue.record(&KERNEL, &[], &params, &bindings, queue.groups(range.len()), work)?;
        }
    }
    Ok(())
}
