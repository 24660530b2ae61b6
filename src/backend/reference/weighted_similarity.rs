//! `weighted_similarity`: WCA's scores.

use super::linear::dot;
use crate::backend::args::{Checked, WeightedSimilarityArgs};
use crate::backend::{Reduction, Reference};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<WeightedSimilarityArgs<'_, Reference>>) -> Result<()> {
    let WeightedSimilarityArgs { views, view_weights, texts, text_weights, pictures, classes, reduction, out } =
        args.into_inner();
    for (picture, own) in pictures.windows(2).enumerate() {
        for (class, bounds) in classes.windows(2).enumerate() {
            let mut score = 0.0;
            for view in own[0] as usize..own[1] as usize {
                let left = texts.left(views.row(view));
                let similarity = |text| dot(&left, texts.row(text));
                let weighted = |text: usize| (f64::from(text_weights.row(0)[text]), similarity(text));
                let pairs = (bounds[0] as usize..bounds[1] as usize).map(weighted);
                score += f64::from(view_weights.row(0)[view]) * reduce(reduction, pairs);
            }
            out.row_mut(picture)[class] = score as f32;
        }
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
