//! The kernels as plain scalar code that reads like the formulas: the oracle of every other backend.
//!
//! Sums are f64, results are rounded to f32 when they are stored. One file per kernel.

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

use super::args::{check_layer, kernels};
use super::host::host_memory;
use super::{Backend, Precision, Shape, TransformerRow};
use crate::error::Result;

pub use linear::ReferenceLinear;

/// The reference backend: single-threaded, scalar, slow and obvious.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    type Linear = ReferenceLinear;

    fn describe(&self) -> String {
        "reference: scalar, 1 thread".into()
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        ((16 << 20) / (size_of::<f32>() * row.of_a_block())).max(1)
    }

    fn pack(
        &self,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        precision: Precision,
    ) -> Result<ReferenceLinear> {
        check_layer(shape, weight, bias)?;
        Ok(ReferenceLinear::new(shape, weight, bias, precision))
    }

    host_memory!();
    kernels!(self, self);
}
