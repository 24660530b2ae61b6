//! The kernels as plain scalar code that reads like the formulas: the oracle of every other backend.
//!
//! Sums are f64, results are rounded to f32 when they are stored. One file a kernel.

mod attention;
mod crop_resize;
mod embed;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod linear;
mod weighted_similarity;

use super::args::{
    AddPositionsArgs, AlignmentWeightsArgs, AttentionArgs, Checked, CropResizeArgs, EmbedTokensArgs, GatherRowsArgs,
    L2NormalizeArgs, LayerNormArgs, LinearArgs, WeightedSimilarityArgs, check_layer,
};
use super::{Backend, HostTensor, Pending, Precision, Rgb, Shape, TransformerRow};
use crate::error::Result;

pub use linear::ReferenceLinear;

/// The reference backend: single-threaded, scalar, slow and obvious.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    type Tensor = HostTensor;
    type Linear = ReferenceLinear;
    type Picture<'p> = Rgb<'p>;
    type Recording = ();

    fn describe(&self) -> String {
        "reference: scalar, 1 thread".into()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        ((16 << 20) / (size_of::<f32>() * row.of_a_block())).max(1)
    }

    fn allocate(&self, shape: Shape) -> Result<HostTensor> {
        HostTensor::allocate(shape)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<HostTensor> {
        HostTensor::upload(shape, data)
    }

    fn upload_picture<'p>(&self, picture: Rgb<'p>) -> Result<Rgb<'p>> {
        Ok(picture)
    }

    fn download_later<const N: usize>(&self, tensors: [&HostTensor; N]) -> Result<Pending<'_, [Vec<f32>; N]>> {
        Ok(Pending::ready(tensors.map(|tensor| tensor.data().to_vec())))
    }

    fn reshape(&self, tensor: &mut HostTensor, shape: Shape) -> Result<()> {
        tensor.reshape(shape)
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

    fn run_crop_resize(&self, args: Checked<CropResizeArgs<'_, '_, Self>>) -> Result<()> {
        crop_resize::run(args)
    }

    fn run_linear(&self, args: Checked<LinearArgs<'_, Self>>) -> Result<()> {
        linear::run(args)
    }

    fn run_layer_norm(&self, args: Checked<LayerNormArgs<'_, Self>>) -> Result<()> {
        layer_norm::run(args)
    }

    fn run_attention(&self, args: Checked<AttentionArgs<'_, Self>>) -> Result<()> {
        attention::run(args)
    }

    fn run_embed_tokens(&self, args: Checked<EmbedTokensArgs<'_, Self>>) -> Result<()> {
        embed::tokens(args)
    }

    fn run_add_positions(&self, args: Checked<AddPositionsArgs<'_, Self>>) -> Result<()> {
        embed::add_positions(args)
    }

    fn run_gather_rows(&self, args: Checked<GatherRowsArgs<'_, Self>>) -> Result<()> {
        gather_rows::run(args)
    }

    fn run_l2_normalize(&self, args: Checked<L2NormalizeArgs<'_, Self>>) -> Result<()> {
        l2_normalize::run(args)
    }

    fn run_alignment_weights(&self, args: Checked<AlignmentWeightsArgs<'_, Self>>) -> Result<()> {
        weighted_similarity::alignment_weights(args)
    }

    fn run_weighted_similarity(&self, args: Checked<WeightedSimilarityArgs<'_, Self>>) -> Result<()> {
        weighted_similarity::run(args)
    }
}
