//! The reduction as a parameter of `weighted_similarity`'s kernels.

use crate::backend::Reduction;

/// The kernels' parameter `best`, how many of a class's texts count: 0 for all of them, as a weighted sum.
pub(in crate::backend) fn best(reduction: Reduction) -> u32 {
    match reduction {
        Reduction::WeightedMean => 0,
        // More than a class has means all of them.
        Reduction::BestMean(k) => u32::try_from(k).unwrap_or(u32::MAX),
    }
}
