//! The WebGPU backend: WGSL kernels on any GPU that wgpu reaches, through Vulkan, Metal or Direct3D 12, and in browsers.
//!
//! Kernels only record dispatches; these are submitted as soon as they are a fraction of a second of work, and
//! [`Backend::download`] submits the rest and waits. A kernel runs in several dispatches if a matrix is larger than a
//! binding, or if one dispatch would have too many workgroups or more than a fraction of a second of work. One file per
//! kernel, its shader in `kernels/wgsl`; the other modules are what they share.

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
mod mapping;
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
use crate::block_on::block_on;
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
    /// The adapters of this machine, real GPUs first; none if a driver fails.
    pub fn adapters() -> Vec<WgpuAdapter> {
        block_on(adapter::enumerate()).unwrap_or_default().into_iter().map(|(about, _)| about).collect()
    }

    /// The adapter with this index; or the best real GPU that opens, among those that the variable `WGPU_ADAPTER_NAME`
    /// names if it is set. Never a software adapter unless asked for by index or name.
    ///
    /// # Errors
    /// When there is no driver, no such adapter, or it refuses to open.
    pub fn new(index: Option<usize>) -> Result<Self> {
        block_on(Self::new_async(index))
    }

    /// As [`Wgpu::new`], for a browser, which opens a device later.
    pub(crate) async fn new_async(index: Option<usize>) -> Result<Self> {
        Queue::open(index.map_or(Choice::Best, Choice::Number)).await.map(Self)
    }

    /// The best adapter that opens and has `part` in its name, ignoring case.
    ///
    /// # Errors
    /// As [`Wgpu::new`].
    pub fn named(part: &str) -> Result<Self> {
        block_on(Self::named_async(part))
    }

    /// As [`Wgpu::named`], for a browser.
    pub(crate) async fn named_async(part: &str) -> Result<Self> {
        Queue::open(Choice::Name(part)).await.map(Self)
    }

    /// Acts as if bindings could hold at most `bytes`, for tests of the paths that split larger matrices.
    ///
    /// # Errors
    /// When `bytes` is less than 4 KiB, or more than the adapter allows.
    pub fn with_max_binding(mut self, bytes: u64) -> Result<Self> {
        if !(4 << 10..=self.0.max_binding).contains(&bytes) {
            let expected = format!("from 4096 to {}", self.0.max_binding);
            return Err(Error::argument("largest binding", bytes.to_string(), expected));
        }
        self.0.max_binding = bytes;
        Ok(self)
    }

    /// Acts as if a dimension of a dispatch could have at most `groups` workgroups; more go to the next dimension or
    /// dispatch.
    ///
    /// # Errors
    /// When `groups` is 0, or more than WebGPU's 65,535.
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

    /// Acts as if bindings had to start at multiples of `bytes`, so that rows begin at an offset in their binding.
    ///
    /// # Errors
    /// When `bytes` is not a multiple of the alignment that the adapter requires, or more than 4 KiB.
    pub fn with_alignment(mut self, bytes: u64) -> Result<Self> {
        if bytes == 0 || bytes > 4 << 10 || !bytes.is_multiple_of(self.0.alignment) {
            let expected = format!("a multiple of {} up to 4096", self.0.alignment);
            return Err(Error::argument("alignment of bindings", bytes.to_string(), expected));
        }
        self.0.alignment = bytes;
        Ok(self)
    }

    /// Acts as if the adapter had `count` multiprocessors: the fewer, the smaller the products that take large tiles.
    #[must_use]
    pub fn with_multiprocessors(mut self, count: usize) -> Self {
        self.0.multiprocessors = count;
        self
    }

    /// Makes kernels check indices and loops at run time, for tests and to find a fault; they are slower by far.
    #[must_use]
    pub fn with_runtime_checks(mut self) -> Self {
        self.0.pipelines.check();
        self
    }

    /// Runs layers stored in f16 with `source` in place of the kernel on cooperative matrices of this side, as if
    /// subgroups had `subgroup` invocations: for tests on adapters without such matrices. The source is leaked.
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

    /// The adapter's description of itself.
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

    /// Puts each dispatch into a pass of its own, to time it.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        Some(self.0.profile(work))
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        // 384 MiB of rows: enough to fill a large GPU, whose multiprocessors WebGPU does not tell, and little of its
        // memory.
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
