//! `alignment_weights`: the softmax of each segment's cosines to its anchor.

use super::attention::softmax;
use super::linear::dot;
use crate::backend::args::{AlignmentWeightsArgs, Checked};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<AlignmentWeightsArgs<'_, Reference>>) -> Result<()> {
    let AlignmentWeightsArgs { rows, anchors, offsets, scale, lengths, out } = args.into_inner();
    for (segment, bounds) in offsets.windows(2).enumerate() {
        let segment_rows = bounds[0] as usize..bounds[1] as usize;
        let logit = |row| f64::from(scale) * dot(rows.row(row), anchors.row(segment));
        let mut weights: Vec<f64> = segment_rows.clone().map(logit).collect();
        softmax(&mut weights);
        let mut sum = vec![0f64; rows.shape().cols];
        for (row, weight) in segment_rows.zip(weights) {
            out.row_mut(0)[row] = weight as f32;
            sum.iter_mut().zip(rows.row(row)).for_each(|(sum, &x)| *sum += weight * f64::from(x));
        }
        lengths.row_mut(0)[segment] = sum.iter().map(|x| x * x).sum::<f64>().sqrt() as f32;
    }
    Ok(())
}
