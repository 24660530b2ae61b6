//! `add_positions`: the class token in front of each view's patches, and the positions.

use super::Cpu;
use crate::backend::args::{AddPositionsArgs, Checked};
use crate::backend::{Shape, Shaped};
use crate::error::Result;
use rayon::prelude::*;

pub(super) fn run(cpu: &Cpu, args: Checked<AddPositionsArgs<'_, Cpu>>) -> Result<()> {
    let AddPositionsArgs { patches, class, positions, out } = args.into_inner();
    let Shape { rows: tokens, cols: width } = positions.shape();
    cpu.install(|| {
        let views = out.data_mut().par_chunks_exact_mut((tokens * width).max(1));
        views.enumerate().for_each(|(view, out)| {
            let (first, others) = out.split_at_mut(width);
            sum(class.row(0), positions.row(0), first);
            for (patch, out) in others.chunks_exact_mut(width).enumerate() {
                sum(patches.row(view * (tokens - 1) + patch), positions.row(1 + patch), out);
            }
        });
    });
    Ok(())
}

pub(super) fn sum(a: &[f32], b: &[f32], out: &mut [f32]) {
    out.iter_mut().zip(a.iter().zip(b)).for_each(|(out, (a, b))| *out = a + b);
}
