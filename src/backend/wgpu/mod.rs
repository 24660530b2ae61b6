//! The WebGPU backend: WGSL kernels on any GPU that wgpu reaches, through Vulkan, Metal or Direct3D 12.
//!
//! Kernels only record; what they recorded is submitted as soon as it is a fraction of a second of work, and
//! [`Backend::download`] submits the rest and waits. A matrix larger than a binding, with more workgroups than a dispatch may
//! have or with more work than a fraction of a second's, runs in several dispatches.
//! One file a kernel, its WGSL twin in `kernels/wgsl`; the other modules are what they share.

mod adapter;
mod add_positions;
mod alignment_weights;
mod attention;
mod cache;
mod cooperative;
mod crop_resize;
mod embed_tokens;
mod fault;
mod gather_rows;
mod l2_normalize;
mod layer_norm;
mod linear;
mod memory;
mod pace;
mod pipeline;
mod queue;
mod receipt;
mod recorder;
mod tensor;
mod timestamps;
mod weighted_similarity;

use super::args::kernels;
use super::{Backend, Pending, Precision, Profile, Rgb, Shape, TransformerRow};
use crate::error::{Error, Result};
use adapter::Choice;
use cooperative::Cooperative;
use queue::Queue;

pub use adapter::WgpuAdapter;
pub use crop_resize::WgpuPicture;
pub use linear::WgpuLinear;
pub use tensor::WgpuTensor;

/// The WebGPU backend.
#[derive(Debug)]
pub struct Wgpu(Queue);

impl Wgpu {
    /// The adapters of this machine, real GPUs first; none where a driver fails.
    pub fn adapters() -> Vec<WgpuAdapter> {
        adapter::enumerate().unwrap_or_default().into_iter().map(|(about, _)| about).collect()
    }

    /// The adapter of this number; or the best real GPU that opens, of those that the variable `WGPU_ADAPTER_NAME` names
    /// where it is set. Never software unless asked for by number or name.
    ///
    /// # Errors
    /// When there is no driver, no such adapter, or it refuses to open.
    pub fn new(index: Option<usize>) -> Result<Self> {
        Queue::open(index.map_or(Choice::Best, Choice::Number)).map(Self)
    }

    /// The best adapter that opens with this in its name, in capitals or not.
    ///
    /// # Errors
    /// As [`Wgpu::new`].
    pub fn named(part: &str) -> Result<Self> {
        Queue::open(Choice::Name(part)).map(Self)
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

    /// As if a dimension of a dispatch could have `groups` workgroups at most: what has more goes on in the next one.
    ///
    /// # Errors
    /// When that is 0, or more than WebGPU's 65,535.
    pub fn with_max_groups(mut self, groups: u32) -> Result<Self> {
        if !(1..=self.0.max_groups).contains(&groups) {
            let expected = format!("from 1 to {}", self.0.max_groups);
            return Err(Error::argument("most workgroups", groups.to_string(), expected));
        }
        self.0.max_groups = groups;
        Ok(self)
    }

    /// Caps the floating-point operations of a dispatch: larger ones are split, down to what one row takes.
    pub fn with_max_flops(mut self, flops: u64) -> Self {
        self.0.max_flops = flops.min(self.0.max_flops);
        self
    }

    /// As if bindings had to start at multiples of `bytes`: kernels then find their rows behind a binding's start.
    ///
    /// # Errors
    /// When that is not a multiple of what the adapter asks for, or more than 4 KiB.
    pub fn with_alignment(mut self, bytes: u64) -> Result<Self> {
        if bytes == 0 || bytes > 4 << 10 || !bytes.is_multiple_of(self.0.alignment) {
            let expected = format!("a multiple of {} up to 4096", self.0.alignment);
            return Err(Error::argument("alignment of bindings", bytes.to_string(), expected));
        }
        self.0.alignment = bytes;
        Ok(self)
    }

    /// As if the adapter had so many multiprocessors: fewer, and smaller products are computed by large tiles.
    #[must_use]
    pub fn with_multiprocessors(mut self, count: usize) -> Self {
        self.0.multiprocessors = count;
        self
    }

    /// With indices and loops checked as the kernels run, for tests and to find a fault; they are slower by far.
    #[must_use]
    pub fn with_runtime_checks(mut self) -> Self {
        self.0.pipelines.check();
        self
    }

    /// Runs layers stored in f16 by another source of the kernel on cooperative matrices of a side, as if subgroups had
    /// `subgroup` invocations: for tests, where no adapter has such matrices. The source stays in memory.
    ///
    /// # Errors
    /// When there is no kernel for the side.
    #[doc(hidden)]
    pub fn with_cooperative_source(mut self, side: u32, subgroup: u32, source: String) -> Result<Self> {
        let kernel = Cooperative::of(side, subgroup)
            .ok_or_else(|| Error::argument("side of cooperative matrices", side.to_string(), "8 or 16"))?;
        self.0.cooperative = Some(kernel.with_source(source));
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
    type Picture<'p> = WgpuPicture;
    type Recording = ();

    fn describe(&self) -> String {
        format!("wgpu:{}: {}", self.0.adapter.index, self.0.adapter)
    }

    fn has_matrix_units(&self) -> bool {
        self.0.adapter.cooperative_matrix.is_some()
    }

    /// Each dispatch is then a pass of its own, so that it can be timed.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        Some(self.0.profile(work))
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        // Enough rows to fill a large GPU, whose multiprocessors WebGPU does not tell; little beside its memory.
        ((384 << 20) / row.bytes(size_of::<f32>())).max(1)
    }

    fn allocate(&self, shape: Shape) -> Result<WgpuTensor> {
        WgpuTensor::allocate(&self.0, shape)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<WgpuTensor> {
        WgpuTensor::upload(&self.0, shape, data)
    }

    fn upload_picture(&self, picture: Rgb<'_>) -> Result<WgpuPicture> {
        WgpuPicture::upload(&self.0, picture)
    }

    fn download_later<const N: usize>(&self, tensors: [&WgpuTensor; N]) -> Result<Pending<'_, [Vec<f32>; N]>> {
        WgpuTensor::download_later(&self.0, tensors)
    }

    fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    fn reshape(&self, tensor: &mut WgpuTensor, shape: Shape) -> Result<()> {
        tensor.reshape(&self.0, shape)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<WgpuLinear> {
        WgpuLinear::new(&self.0, shape, weight, bias, precision)
    }

    kernels!(self, &self.0);
}
