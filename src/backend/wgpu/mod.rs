//! The WebGPU backend: WGSL kernels on any GPU that wgpu reaches, through Vulkan, Metal or Direct3D 12.
//!
//! Kernels only record; [`Backend::download`] submits what was recorded and waits, so that a forward pass is one
//! submission. A matrix larger than a binding, or with more workgroups than a dispatch may have, runs in several.
//! One file a kernel, its WGSL twin in `kernels/wgsl`; the other modules are what they share.

mod adapter;
mod alignment_weights;
mod attention;
mod cache;
mod crop_resize;
mod embed;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod linear;
mod pipeline;
mod queue;
mod recorder;
mod tensor;
mod timestamps;
mod weighted_similarity;

use super::{Backend, CropOutput, CropPlan, Epilogue, Precision, Profile, Reduction, Rgb, Shape};
use crate::error::{Error, Result};
use queue::Queue;
use std::ops::Range;

pub use adapter::WgpuAdapter;
pub use linear::WgpuLinear;
pub use tensor::WgpuTensor;

/// The WebGPU backend.
#[derive(Debug)]
pub struct Wgpu(Queue);

impl Wgpu {
    /// The adapters of this machine, real GPUs first.
    pub fn adapters() -> Vec<WgpuAdapter> {
        adapter::enumerate().into_iter().map(|(about, _)| about).collect()
    }

    /// The adapter of this number, or the best real GPU; never software unless asked for by number.
    ///
    /// # Errors
    /// When there is no driver, no such adapter, or it refuses to open.
    pub fn new(index: Option<usize>) -> Result<Self> {
        Queue::open(index).map(Self)
    }

    /// As if bindings could hold `bytes` at most: what is larger is split sooner.
    ///
    /// # Errors
    /// When that is less than 4 KiB, or more than the adapter allows.
    pub fn with_max_binding(mut self, bytes: u64) -> Result<Self> {
        if !(4 << 10..=self.0.max_binding).contains(&bytes) {
            let expected = format!("from 4096 to {}", self.0.max_binding);
            return Err(Error::argument("largest binding", bytes.to_string(), expected));
        }
        self.0.max_binding = bytes;
        Ok(self)
    }

    /// What the adapter says of itself.
    pub fn adapter(&self) -> &WgpuAdapter {
        &self.0.adapter
    }
}

impl Backend for Wgpu {
    type Tensor = WgpuTensor;
    type Linear = WgpuLinear;
    type Recording = ();

    fn describe(&self) -> String {
        format!("wgpu:{}: {}", self.0.adapter.index, self.0.adapter)
    }

    fn has_matrix_units(&self) -> bool {
        self.0.adapter.cooperative_matrix.is_some()
    }

    /// Each dispatch is then a pass of its own, so that it can be timed.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        Some(self.0.profile(work).1)
    }

    fn activation_budget(&self) -> usize {
        // Enough rows to fill a large GPU; little beside its memory.
        256 << 20
    }

    fn allocate(&self, shape: Shape) -> Result<WgpuTensor> {
        WgpuTensor::allocate(&self.0, shape)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<WgpuTensor> {
        WgpuTensor::upload(&self.0, shape, data)
    }

    fn download(&self, tensor: &WgpuTensor) -> Result<Vec<f32>> {
        tensor.download(&self.0)
    }

    fn reshape(&self, tensor: &mut WgpuTensor, shape: Shape) -> Result<()> {
        tensor.reshape(&self.0, shape)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<WgpuLinear> {
        WgpuLinear::new(&self.0, shape, weight, bias, precision)
    }

    fn crop_resize(
        &self,
        picture: Rgb<'_>,
        plan: &CropPlan,
        views: Range<usize>,
        output: CropOutput<'_, WgpuTensor>,
    ) -> Result<()> {
        crop_resize::run(&self.0, picture, plan, views, output)
    }

    fn linear(&self, input: &WgpuTensor, layer: &WgpuLinear, epilogue: Epilogue, out: &mut WgpuTensor) -> Result<()> {
        linear::run(&self.0, input, layer, epilogue, out)
    }

    fn layer_norm(
        &self,
        input: &WgpuTensor,
        gamma: &WgpuTensor,
        beta: &WgpuTensor,
        eps: f32,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        layer_norm::run(&self.0, input, gamma, beta, eps, out)
    }

    fn attention(
        &self,
        queries: &WgpuTensor,
        keys_values: &WgpuTensor,
        query_offsets: &[u32],
        key_offsets: &[u32],
        heads: usize,
        causal: bool,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        attention::run(&self.0, queries, keys_values, query_offsets, key_offsets, heads, causal, out)
    }

    fn embed_tokens(
        &self,
        tokens: &[u32],
        offsets: &[u32],
        table: &WgpuTensor,
        positions: &WgpuTensor,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        embed::tokens(&self.0, tokens, offsets, table, positions, out)
    }

    fn add_positions(
        &self,
        patches: &WgpuTensor,
        class: &WgpuTensor,
        positions: &WgpuTensor,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        embed::add_positions(&self.0, patches, class, positions, out)
    }

    fn gather_rows(&self, input: &WgpuTensor, rows: &[u32], out: &mut WgpuTensor) -> Result<()> {
        gather_rows::run(&self.0, input, rows, out)
    }

    fn l2_normalize(&self, tensor: &mut WgpuTensor) -> Result<()> {
        l2_normalize::run(&self.0, tensor)
    }

    fn alignment_weights(
        &self,
        rows: &WgpuTensor,
        anchors: &WgpuTensor,
        offsets: &[u32],
        scale: f32,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        alignment_weights::run(&self.0, rows, anchors, offsets, scale, out)
    }

    fn weighted_similarity(
        &self,
        views: &WgpuTensor,
        view_weights: &WgpuTensor,
        texts: &WgpuLinear,
        text_weights: &WgpuTensor,
        classes: &[u32],
        reduction: Reduction,
        out: &mut WgpuTensor,
    ) -> Result<()> {
        weighted_similarity::run(&self.0, views, view_weights, texts, text_weights, classes, reduction, out)
    }
}
