//! The CUDA backend: kernels of `kernels/cuda` on NVIDIA GPUs from compute capability 8.0 on.
//!
//! The kernels are built in as PTX, which the driver compiles for the card: no toolkit is needed to build or to run.
//! Weights packed in f16 are multiplied on tensor cores where the input is an [activation](Backend::activation) in f16;
//! everything else is computed in f32. One file a kernel, its CUDA twin in `kernels/cuda`; `context`, `driver` and
//! `tensor` are what they share.

mod alignment_weights;
mod attention;
mod context;
mod crop_resize;
mod driver;
mod embed;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod linear;
mod recording;
mod tensor;
mod weighted_similarity;

use super::{Backend, CropOutput, CropPlan, Epilogue, Precision, Profile, Reduction, Rgb, Shape};
use crate::error::Result;
use context::Context;
use std::ops::Range;

pub use linear::CudaLinear;
pub use recording::CudaRecording;
pub use tensor::CudaTensor;

/// The CUDA backend on one device.
#[derive(Debug)]
pub struct Cuda(Context);

impl Cuda {
    /// The device of this number.
    ///
    /// # Errors
    /// When there is no driver, no such device, or it is older than compute capability 8.0; the message says which.
    pub fn new(index: usize) -> Result<Self> {
        Context::open(index).map(Self)
    }

    /// How many devices the driver has.
    ///
    /// # Errors
    /// When there is no driver, or it does not start.
    pub fn count() -> Result<usize> {
        driver::count()
    }
}

impl Backend for Cuda {
    type Tensor = CudaTensor;
    type Linear = CudaLinear;
    type Recording = CudaRecording;

    fn describe(&self) -> String {
        self.0.describe()
    }

    /// Every card that is supported has them.
    fn has_matrix_units(&self) -> bool {
        true
    }

    /// Each launch is then between two events, so that it can be timed.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        Some(self.0.profile(work).1)
    }

    fn activation_budget(&self) -> usize {
        // Enough rows to fill a large GPU; little beside its memory.
        512 << 20
    }

    fn allocate(&self, shape: Shape) -> Result<CudaTensor> {
        CudaTensor::allocate(&self.0, shape)
    }

    fn activation(&self, precision: Precision) -> Result<CudaTensor> {
        CudaTensor::activation(&self.0, precision)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<CudaTensor> {
        CudaTensor::upload(&self.0, shape, data)
    }

    fn download(&self, tensor: &CudaTensor) -> Result<Vec<f32>> {
        tensor.download(&self.0)
    }

    fn reshape(&self, tensor: &mut CudaTensor, shape: Shape) -> Result<()> {
        tensor.reshape(&self.0, shape)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<CudaLinear> {
        CudaLinear::new(&self.0, shape, weight, bias, precision)
    }

    fn replay(&self, recording: &mut CudaRecording, key: usize, work: impl FnMut() -> Result<()> + Send) -> Result<()> {
        recording.replay(&self.0, key, work)
    }

    fn crop_resize(
        &self,
        picture: Rgb<'_>,
        plan: &CropPlan,
        views: Range<usize>,
        output: CropOutput<'_, CudaTensor>,
    ) -> Result<()> {
        crop_resize::run(&self.0, picture, plan, views, output)
    }

    fn linear(&self, input: &CudaTensor, layer: &CudaLinear, epilogue: Epilogue, out: &mut CudaTensor) -> Result<()> {
        linear::run(&self.0, input, layer, epilogue, out)
    }

    fn layer_norm(
        &self,
        input: &CudaTensor,
        gamma: &CudaTensor,
        beta: &CudaTensor,
        eps: f32,
        out: &mut CudaTensor,
    ) -> Result<()> {
        layer_norm::run(&self.0, input, gamma, beta, eps, out)
    }

    fn attention(
        &self,
        queries: &CudaTensor,
        keys_values: &CudaTensor,
        query_offsets: &[u32],
        key_offsets: &[u32],
        heads: usize,
        causal: bool,
        out: &mut CudaTensor,
    ) -> Result<()> {
        attention::run(&self.0, queries, keys_values, query_offsets, key_offsets, heads, causal, out)
    }

    fn embed_tokens(
        &self,
        tokens: &[u32],
        offsets: &[u32],
        table: &CudaTensor,
        positions: &CudaTensor,
        out: &mut CudaTensor,
    ) -> Result<()> {
        embed::tokens(&self.0, tokens, offsets, table, positions, out)
    }

    fn add_positions(
        &self,
        patches: &CudaTensor,
        class: &CudaTensor,
        positions: &CudaTensor,
        out: &mut CudaTensor,
    ) -> Result<()> {
        embed::add_positions(&self.0, patches, class, positions, out)
    }

    fn gather_rows(&self, input: &CudaTensor, rows: &[u32], out: &mut CudaTensor) -> Result<()> {
        gather_rows::run(&self.0, input, rows, out)
    }

    fn l2_normalize(&self, tensor: &mut CudaTensor) -> Result<()> {
        l2_normalize::run(&self.0, tensor)
    }

    fn alignment_weights(
        &self,
        rows: &CudaTensor,
        anchors: &CudaTensor,
        offsets: &[u32],
        scale: f32,
        out: &mut CudaTensor,
    ) -> Result<()> {
        alignment_weights::run(&self.0, rows, anchors, offsets, scale, out)
    }

    fn weighted_similarity(
        &self,
        views: &CudaTensor,
        view_weights: &CudaTensor,
        texts: &CudaLinear,
        text_weights: &CudaTensor,
        classes: &[u32],
        reduction: Reduction,
        out: &mut CudaTensor,
    ) -> Result<()> {
        weighted_similarity::run(&self.0, views, view_weights, texts, text_weights, classes, reduction, out)
    }
}
