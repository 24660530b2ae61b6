//! How `weighted_similarity` takes its reduction.

use crate::backend::Reduction;

/// How many of a class's texts count, as `weighted_similarity` takes it: 0 for all of them, as a weighted sum.
pub(in crate::backend) fn best(reduction: Reduction) -> u32 {
    match reduction {
        Reduction::WeightedMean => 0,
        // More than a class has is all of it.
        Reduction::BestMean(k) => u32::try_from(k).unwrap_or(u32::MAX),
    }
}
