//! `alignment_weights`: the softmax of each segment's cosines to its anchor.

use super::Cpu;
use super::math::{dot, softmax_numerators};
use super::simd::{Simd, SimdTask};
use crate::backend::HostTensor;
use crate::backend::args::{AlignmentWeightsArgs, Checked};
use crate::error::Result;

pub(super) fn run(cpu: &Cpu, args: Checked<AlignmentWeightsArgs<'_, Cpu>>) -> Result<()> {
    let AlignmentWeightsArgs { rows, anchors, offsets, scale, lengths, out } = args.into_inner();
    for (segment, bounds) in offsets.windows(2).enumerate() {
        let first = bounds[0] as usize;
        let weights = &mut out.row_mut(0)[first..bounds[1] as usize];
        let length = cpu.level.dispatch(Segment { rows, anchor: anchors.row(segment), first, scale, weights });
        lengths.row_mut(0)[segment] = length;
    }
    Ok(())
}

struct Segment<'a> {
    rows: &'a HostTensor,
    anchor: &'a [f32],
    first: usize,
    scale: f32,
    weights: &'a mut [f32],
}

impl SimdTask for Segment<'_> {
    /// The length of the weighted sum.
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        for (i, weight) in self.weights.iter_mut().enumerate() {
            *weight = dot(s, self.rows.row(self.first + i), self.anchor) * self.scale;
        }
        let sum = softmax_numerators(s, self.weights, 1.0);
        self.weights.iter_mut().for_each(|weight| *weight /= sum);
        let mut sum = vec![0.0; self.anchor.len()];
        for (i, &weight) in self.weights.iter().enumerate() {
            sum.iter_mut().zip(self.rows.row(self.first + i)).for_each(|(sum, x)| *sum += weight * x);
        }
        dot(s, &sum, &sum).sqrt()
    }
}
