//! `l2_normalize`: each row to length 1.

use super::pipeline::kernels::l2_normalize::{KERNEL, Params};
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{Checked, L2NormalizeArgs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<L2NormalizeArgs<'_, Wgpu>>) -> Result<()> {
    let L2NormalizeArgs { tensor } = args.into_inner();
    let width = tensor.shape().cols;
    for rows in chunks(tensor.shape().rows, rows_at_once(queue, &[width])) {
        let window = tensor.window(queue, "l2_normalize tensor", rows.clone())?;
        let params = Params { rows: rows.len() as u32, width: width as u32, base: window.base };
        let work = Work::words(2 * rows.len() * width, 3 * rows.len() * width);
        queue.record(&KERNEL, &[], &params, &[window.slice], queue.groups(rows.len()), work)?;
    }
    Ok(())
}
