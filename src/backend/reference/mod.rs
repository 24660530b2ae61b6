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

use super::{Backend, CropOutput, CropPlan, Epilogue, HostTensor, Precision, Reduction, Rgb, Shape, contract};
use crate::error::Result;
use std::ops::Range;

pub use linear::ReferenceLinear;

/// The reference backend: single-threaded, scalar, slow and obvious.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    type Tensor = HostTensor;
    type Linear = ReferenceLinear;
    type Recording = ();

    fn describe(&self) -> String {
        "reference: scalar, 1 thread".into()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn activation_budget(&self) -> usize {
        16 << 20
    }

    fn allocate(&self, shape: Shape) -> Result<HostTensor> {
        HostTensor::allocate(shape)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<HostTensor> {
        HostTensor::upload(shape, data)
    }

    fn download(&self, tensor: &HostTensor) -> Result<Vec<f32>> {
        Ok(tensor.data().to_vec())
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
        contract::pack(shape, weight, bias)?;
        Ok(ReferenceLinear::new(shape, weight, bias, precision))
    }

    fn crop_resize(
        &self,
        picture: Rgb<'_>,
        plan: &CropPlan,
        views: Range<usize>,
        output: CropOutput<'_, HostTensor>,
    ) -> Result<()> {
        crop_resize::run(picture, plan, views, output)
    }

    fn linear(
        &self,
        input: &HostTensor,
        layer: &ReferenceLinear,
        epilogue: Epilogue,
        out: &mut HostTensor,
    ) -> Result<()> {
        linear::run(input, layer, epilogue, out)
    }

    fn layer_norm(
        &self,
        input: &HostTensor,
        gamma: &HostTensor,
        beta: &HostTensor,
        eps: f32,
        out: &mut HostTensor,
    ) -> Result<()> {
        layer_norm::run(input, gamma, beta, eps, out)
    }

    fn attention(
        &self,
        queries: &HostTensor,
        keys_values: &HostTensor,
        query_offsets: &[u32],
        key_offsets: &[u32],
        heads: usize,
        causal: bool,
        out: &mut HostTensor,
    ) -> Result<()> {
        attention::run(queries, keys_values, query_offsets, key_offsets, heads, causal, out)
    }

    fn embed_tokens(
        &self,
        tokens: &[u32],
        offsets: &[u32],
        table: &HostTensor,
        positions: &HostTensor,
        out: &mut HostTensor,
    ) -> Result<()> {
        embed::tokens(tokens, offsets, table, positions, out)
    }

    fn add_positions(
        &self,
        patches: &HostTensor,
        class: &HostTensor,
        positions: &HostTensor,
        out: &mut HostTensor,
    ) -> Result<()> {
        embed::add_positions(patches, class, positions, out)
    }

    fn gather_rows(&self, input: &HostTensor, rows: &[u32], out: &mut HostTensor) -> Result<()> {
        gather_rows::run(input, rows, out)
    }

    fn l2_normalize(&self, tensor: &mut HostTensor) -> Result<()> {
        l2_normalize::run(tensor)
    }

    fn alignment_weights(
        &self,
        rows: &HostTensor,
        anchors: &HostTensor,
        offsets: &[u32],
        scale: f32,
        out: &mut HostTensor,
    ) -> Result<()> {
        weighted_similarity::alignment_weights(rows, anchors, offsets, scale, out)
    }

    fn weighted_similarity(
        &self,
        views: &HostTensor,
        view_weights: &HostTensor,
        texts: &ReferenceLinear,
        text_weights: &HostTensor,
        classes: &[u32],
        reduction: Reduction,
        out: &mut HostTensor,
    ) -> Result<()> {
        weighted_similarity::run(views, view_weights, texts, text_weights, classes, reduction, out)
    }
}
