//! The CUDA backend: kernels of `kernels/cuda` on NVIDIA GPUs from compute capability 8.0 on.
//!
//! The kernels are built in as PTX, which the driver compiles for the card: no toolkit is needed to build or to run.
//! Weights packed in f16 are multiplied on tensor cores where the input is an [activation](Backend::activation) in f16;
//! everything else is computed in f32. One file per kernel, its device code in `kernels/cuda`; the other modules are
//! what they share, from the driver's `functions` up to the `context`.

mod add_positions;
mod alignment_weights;
mod attention;
mod choose;
mod context;
mod crop_resize;
mod device;
mod driver;
mod element;
mod embed_tokens;
mod family;
mod functions;
mod gather_rows;
mod handles;
mod kernels;
mod l2_normalize;
mod launch;
mod layer_norm;
mod linear;
mod profiling;
mod recording;
mod staging;
mod tensor;
mod tensor_map;
mod weighted_similarity;

use super::args::kernels;
use super::{Backend, Pending, Precision, Profile, Rgb, Shape, TransformerRow};
use crate::error::Result;
use context::Context;
use device::Device;

pub use crop_resize::CudaPicture;
pub use linear::CudaLinear;
pub use recording::CudaRecording;
pub use tensor::CudaTensor;

/// The CUDA backend on one device.
#[derive(Debug)]
pub struct Cuda(Context);

impl Cuda {
    /// The device with this index.
    ///
    /// # Errors
    /// When there is no driver, no such device, or it is older than compute capability 8.0; the message says which.
    pub fn new(index: usize) -> Result<Self> {
        Context::open(index).map(Self)
    }

    /// The device whose UUID starts with `begin`, as nvidia-smi prints it: `GPU-` and hexadecimal digits.
    ///
    /// # Errors
    /// As [`Cuda::new`], or when no UUID or several start with it.
    pub fn with_uuid(begin: &str) -> Result<Self> {
        Self::new(Device::by_uuid(begin)?)
    }

    /// How many devices the driver has, of those that the variable `CUDA_VISIBLE_DEVICES` leaves visible.
    ///
    /// # Errors
    /// When there is no driver, or it does not start.
    pub fn count() -> Result<usize> {
        Device::count()
    }
}

impl Backend for Cuda {
    type Tensor = CudaTensor;
    type Linear = CudaLinear;
    type Picture<'p> = CudaPicture;
    type Recording = CudaRecording;

    fn describe(&self) -> String {
        self.0.describe()
    }

    /// Every supported card has tensor cores.
    fn has_matrix_units(&self) -> bool {
        true
    }

    /// Puts each launch between two events, to time it.
    fn profile(&self, work: &mut dyn FnMut()) -> Option<Profile> {
        Some(self.0.profile(work).1)
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        choose::preferred_rows(row, self.0.multiprocessors, self.0.memory)
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

    fn upload_picture(&self, picture: Rgb<'_>) -> Result<CudaPicture> {
        CudaPicture::upload(&self.0, picture)
    }

    fn download_later<const N: usize>(&self, tensors: [&CudaTensor; N]) -> Result<Pending<'_, [Vec<f32>; N]>> {
        CudaTensor::download_later(&self.0, tensors)
    }

    fn reshape(&self, tensor: &mut CudaTensor, shape: Shape) -> Result<()> {
        tensor.reshape(&self.0, shape)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<CudaLinear> {
        CudaLinear::new(&self.0, shape, weight, bias, precision)
    }

    fn record_or_replay(
        &self,
        recording: &mut CudaRecording,
        key: usize,
        work: impl FnMut() -> Result<()> + Send,
    ) -> Result<()> {
        recording.record_or_replay(&self.0, key, work)
    }

    kernels!(self, &self.0);
}
