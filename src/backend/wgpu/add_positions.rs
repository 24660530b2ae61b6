//! `add_positions`: the class token in front of each view's patches, and the positions.

use super::pipeline::kernels::add_positions;
use super::queue::Queue;
use super::tensor::{chunks, rows_at_once};
use crate::backend::args::{AddPositionsArgs, Checked};
use crate::backend::{Shaped, Wgpu, Work};
use crate::error::Result;

pub(super) fn run(queue: &Queue, args: Checked<AddPositionsArgs<'_, Wgpu>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let views = patches.shape().rows / (positions.shape().rows - 1);
    let (tokens, width) = (positions.shape().rows, patches.shape().cols);
    let class = class.whole(queue, "add_positions class")?;
    let positions = positions.whole(queue, "add_positions positions")?;
    for views in chunks(views, rows_at_once(queue, &[tokens * width])) {
        let (first, end) = (views.start, views.end);
        let patches = patches.window(queue, "add_positions patches", first * (tokens - 1)..end * (tokens - 1))?;
        let out = out.window(queue, "add_positions output", first * tokens..end * tokens)?;
        let rows = views.len() * tokens;
        let params = add_positions::Params {
            rows: rows as u32,
            width: width as u32,
            tokens: tokens as u32,
            patches_base: patches.base,
            out_base: out.base,
        };
        let bindings = [patches.slice, class, positions, out.slice];
        let work = Work::words((views.len() * (tokens - 1) + tokens + 1 + rows) * width, rows * width);
        queue.record(&add_positions::KERNEL, &[], &params, &bindings, queue.groups(rows), work)?;
    }
    Ok(())
}
