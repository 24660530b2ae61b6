//! `layer_norm`: each row to mean 0 and variance 1, then scale and shift.

use super::Cpu;
use super::math::{dot, sum};
use super::simd::{Simd, SimdTask};
use crate::backend::args::{Checked, LayerNormArgs};
use crate::backend::{HostTensor, Shaped};
use crate::error::Result;
use rayon::prelude::*;

/// Rows of a task: few, so that even the rows of one view are shared among threads.
const ROW_BLOCK: usize = 16;

pub(super) fn run(cpu: &Cpu, args: Checked<LayerNormArgs<'_, Cpu>>) -> Result<()> {
    let LayerNormArgs { input, gamma, beta, eps, out } = args.into_inner();
    let (gamma, beta) = (gamma.row(0), beta.row(0));
    let block = (ROW_BLOCK * out.shape().cols).max(1);
    cpu.install(|| {
        out.data_mut().par_chunks_mut(block).enumerate().for_each(|(i, out)| {
            cpu.level.dispatch(Rows { input, gamma, beta, eps, first: i * ROW_BLOCK, out });
        });
    });
    Ok(())
}

struct Rows<'a> {
    input: &'a HostTensor,
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f32,
    first: usize,
    /// The rows from `first` on.
    out: &'a mut [f32],
}

impl SimdTask for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { input, gamma, beta, eps, first, out } = self;
        let width = input.shape().cols as f32;
        for (row, out) in (first..).zip(out.chunks_exact_mut(input.shape().cols)) {
            let x = input.row(row);
            let mean = sum(s, x) / width;
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x - mean);
            let variance = dot(s, out, out) / width;
            let scale = 1.0 / (variance + eps).sqrt();
            for ((out, gamma), beta) in out.iter_mut().zip(gamma).zip(beta) {
                *out = *out * scale * gamma + beta;
            }
        }
    }
}
