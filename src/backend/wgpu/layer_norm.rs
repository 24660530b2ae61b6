//! `layer_norm`: each row to mean 0 and variance 1, then scale and shift.

use super::pipeline::kernels::layer_norm::{KERNEL, Params};
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{Checked, LayerNormArgs};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<LayerNormArgs<'_, Wgpu>>) -> Result<()> {
    let LayerNormArgs { input, gamma, beta, eps, out } = args.into_inner();
    let (gamma, beta) = (gamma.whole(queue, "layer_norm gamma")?, beta.whole(queue, "layer_norm beta")?);
    let width = input.shape().cols;
    for rows in chunks(input.shape().rows, rows_at_once(queue, &[width])) {
        let input = input.window(queue, "layer_norm input", rows.clone())?;
        let out = out.window(queue, "layer_norm output", rows.clone())?;
        let params =
            Params { rows: rows.len() as u32, width: width as u32, eps, input_base: input.base, out_base: out.base };
        let elements = rows.len() * width;
        let work = Work::words(2 * elements + 2 * width, 8 * elements);
        let bindings = [input.slice, gamma, beta, out.slice];
        queue.record(&KERNEL, &[], &params, &bindings, queue.groups(rows.len()), work)?;
    }
    Ok(())
}
