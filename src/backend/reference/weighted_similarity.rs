//! `alignment_weights` and `weighted_similarity`: WCA's weights and scores.

use super::attention::softmax;
use super::linear::dot;
use crate::backend::Reference;
use crate::backend::args::{AlignmentWeightsArgs, Checked, WeightedSimilarityArgs};
use crate::backend::{Reduction, Shaped};
use crate::error::Result;

pub(super) fn alignment_weights(args: Checked<AlignmentWeightsArgs<'_, Reference>>) -> Result<()> {
    let AlignmentWeightsArgs { rows, anchors, offsets, scale, out } = args.into_inner();
    for (segment, bounds) in offsets.windows(2).enumerate() {
        let segment_rows = bounds[0] as usize..bounds[1] as usize;
        let logit = |row| f64::from(scale) * dot(rows.row(row), anchors.row(segment));
        let mut weights: Vec<f64> = segment_rows.clone().map(logit).collect();
        softmax(&mut weights);
        for (row, weight) in segment_rows.zip(weights) {
            out.row_mut(0)[row] = weight as f32;
        }
    }
    Ok(())
}

pub(super) fn run(args: Checked<WeightedSimilarityArgs<'_, Reference>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, classes, reduction, out } =
        args.into_inner();
    for (class, bounds) in classes.windows(2).enumerate() {
        let mut score = 0.0;
        for view in 0..views.shape().rows {
            let left = texts.left(views.row(view));
            let similarity = |text| dot(&left, texts.row(text));
            let weighted = |text: usize| (f64::from(text_weights.row(0)[text]), similarity(text));
            let pairs = (bounds[0] as usize..bounds[1] as usize).map(weighted);
            score += f64::from(view_weights.row(0)[view]) * reduce(reduction, pairs);
        }
        out.row_mut(0)[class] = score as f32;
    }
    Ok(())
}

/// Reduces a class's pairs of weight and similarity.
fn reduce(reduction: Reduction, pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    match reduction {
        Reduction::WeightedMean => pairs.map(|(weight, similarity)| weight * similarity).sum(),
        Reduction::BestMean(k) => {
            let mut best: Vec<_> = pairs.filter(|&(weight, _)| weight != 0.0).collect();
            // Stable: ties keep the lower index first. Adding 0 makes −0 and 0 a tie.
            best.sort_by(|a, b| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)));
            best.truncate(k);
            let weights: f64 = best.iter().map(|&(weight, _)| weight).sum();
            let sum: f64 = best.iter().map(|&(weight, similarity)| weight * similarity).sum();
            if best.is_empty() { 0.0 } else { sum / weights }
        }
    }
}
