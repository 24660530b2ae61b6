//! `add_positions`: the class token in front of each view's patches, and the positions.

use crate::backend::args::{AddPositionsArgs, Checked};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<AddPositionsArgs<'_, Reference>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let views = patches.shape().rows / (positions.shape().rows - 1);
    let tokens = positions.shape().rows;
    for view in 0..views {
        sum(class.row(0), positions.row(0), out.row_mut(view * tokens));
        for patch in 0..tokens - 1 {
            let row = patches.row(view * (tokens - 1) + patch);
            sum(row, positions.row(1 + patch), out.row_mut(view * tokens + 1 + patch));
        }
    }
    Ok(())
}

pub(super) fn sum(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = a + b);
}
