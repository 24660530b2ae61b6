//! Each kernel's arguments as one struct, whose fields' documentation is the kernel's contract, and the checks of it.
//!
//! A backend gets arguments only as [`Checked`], which only a check makes: what follows may index without further thought,
//! and a kernel on a GPU stays within its operands.

mod add_positions;
mod alignment_weights;
mod attention;
mod crop_resize;
mod embed_tokens;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod linear;
mod weighted_similarity;

use super::Shape;
use crate::error::{Error, Result};

pub use add_positions::AddPositionsArgs;
pub use alignment_weights::AlignmentWeightsArgs;
pub use attention::AttentionArgs;
pub use crop_resize::CropResizeArgs;
pub use embed_tokens::EmbedTokensArgs;
pub use gather_rows::GatherRowsArgs;
pub use l2_normalize::L2NormalizeArgs;
pub use layer_norm::LayerNormArgs;
pub use linear::LinearArgs;
pub use weighted_similarity::WeightedSimilarityArgs;

/// A kernel's arguments.
pub trait KernelArgs: Sized {
    /// Refuses what the kernel's contract does not allow.
    ///
    /// # Errors
    /// An [`Error::Argument`] that names the kernel and the argument.
    fn check(&self) -> Result<()>;

    /// The arguments, for a backend to run.
    ///
    /// # Errors
    /// As [`KernelArgs::check`].
    fn checked(self) -> Result<Checked<Self>> {
        self.check()?;
        Ok(Checked(self))
    }
}

/// Arguments that keep their kernel's contract.
pub struct Checked<A>(A);

impl<A> Checked<A> {
    pub(super) fn into_inner(self) -> A {
        self.0
    }
}

/// The check of [`Backend::pack`](super::Backend::pack).
pub(super) fn check_layer(shape: Shape, weight: &[f32], bias: Option<&[f32]>) -> Result<()> {
    if shape.is_empty() || weight.len() != shape.len() || bias.is_some_and(|b| b.len() != shape.rows) {
        return Err(Error::argument(
            "pack",
            format!("{} weights, {:?} biases", weight.len(), bias.map(<[f32]>::len)),
            format!("{shape} weights, none empty, a bias for each row or none"),
        ));
    }
    Ok(())
}

fn expect_shape(name: &str, found: Shape, expected: Shape) -> Result<()> {
    if found == expected { Ok(()) } else { Err(Error::argument(name, found.to_string(), expected.to_string())) }
}

/// Offsets `0 = o₀ ≤ o₁ ≤ … = total`, at least one segment.
fn expect_offsets(name: &str, offsets: &[u32], total: usize) -> Result<()> {
    let ends = offsets.len() >= 2 && offsets[0] == 0 && offsets[offsets.len() - 1] as usize == total;
    if ends && offsets.is_sorted() {
        return Ok(());
    }
    let (first, last) = (offsets.first(), offsets.last());
    let found = format!("{} offsets from {first:?} to {last:?}", offsets.len());
    Err(Error::argument(name, found, format!("ascending offsets from 0 to {total}")))
}

fn expect_indices(name: &str, indices: &[u32], limit: usize) -> Result<()> {
    match indices.iter().find(|&&i| i as usize >= limit) {
        None => Ok(()),
        Some(index) => Err(Error::argument(name, index.to_string(), format!("less than {limit}"))),
    }
}
