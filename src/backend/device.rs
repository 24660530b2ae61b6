//! The device that a user chose: one type over all backends.

use super::{
    Backend, Cpu, CropOutput, CropPlan, Epilogue, HostTensor, Precision, Profile, Reduction, Reference, Rgb, Shape,
    Shaped, cpu::CpuLinear, reference::ReferenceLinear,
};
#[cfg(feature = "cuda")]
use super::{Cuda, CudaTensor, cuda::CudaLinear, cuda::CudaRecording};
#[cfg(feature = "wgpu")]
use super::{Wgpu, WgpuTensor, wgpu::WgpuLinear};
use crate::error::{Error, Result};
use std::ops::Range;

/// A backend chosen at run time. It is a [`Backend`] itself: it hands every call to the one it holds.
///
/// ```
/// use crossalign::backend::{Backend, Device};
/// let device = Device::open("cpu", 2)?;
/// assert!(device.describe().starts_with("cpu"));
/// # Ok::<(), crossalign::Error>(())
/// ```
#[derive(Debug)]
pub enum Device {
    /// Plain scalar code.
    Reference(Reference),
    /// SIMD and threads.
    Cpu(Cpu),
    /// An NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda(Box<Cuda>),
    /// Any GPU.
    #[cfg(feature = "wgpu")]
    Wgpu(Box<Wgpu>),
}

/// A tensor of a [`Device`].
#[derive(Debug)]
pub enum DeviceTensor {
    /// In the process's memory: the reference and the CPU backend.
    Host(HostTensor),
    /// In the memory of an NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda(CudaTensor),
    /// In the memory of a GPU that wgpu drives.
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuTensor),
}

/// A packed linear layer of a [`Device`].
#[derive(Debug)]
pub enum DeviceLinear {
    /// Packed by the reference backend.
    Reference(ReferenceLinear),
    /// Packed by the CPU backend.
    Cpu(CpuLinear),
    /// Packed by the CUDA backend.
    #[cfg(feature = "cuda")]
    Cuda(CudaLinear),
    /// Packed by the WebGPU backend.
    #[cfg(feature = "wgpu")]
    Wgpu(WgpuLinear),
}

/// What a [`Device`] remembers of a sequence of kernels.
#[derive(Debug, Default)]
pub struct DeviceRecording {
    #[cfg(feature = "cuda")]
    cuda: CudaRecording,
}

impl Device {
    /// The devices that a name stands for: `cuda:all` all of the driver's, any other name itself. Never none.
    ///
    /// # Errors
    /// When all CUDA devices are asked for, and there is no driver or device.
    pub fn names(name: &str) -> Result<Vec<String>> {
        if name != "cuda:all" {
            return Ok(vec![name.to_string()]);
        }
        #[cfg(feature = "cuda")]
        let count = Cuda::count()?;
        #[cfg(not(feature = "cuda"))]
        let count = open_cuda(name, 0).map(|_| 0)?;
        if count == 0 {
            return Err(Error::device(name, "the NVIDIA driver has no device"));
        }
        Ok((0..count).map(|index| format!("cuda:{index}")).collect())
    }

    /// Opens a device by name: `auto`, `cpu`, `reference`, `wgpu[:N]` or `cuda[:N]`; `threads` is for the CPU
    /// (0: as many as the machine runs at once). `auto` is a GPU where there is one, through CUDA or else wgpu, and
    /// else the CPU; `cuda` alone is the first device.
    ///
    /// # Errors
    /// When the name is none of these, or the device is not built in or not there. `auto` always finds one.
    pub fn open(name: &str, threads: usize) -> Result<Self> {
        let (kind, index) = name.split_once(':').map_or((name, None), |(kind, index)| (kind, Some(index)));
        let number = index.map(str::parse::<usize>).transpose();
        let number = match (kind, number) {
            ("wgpu" | "cuda", Ok(number)) | (_, Ok(number @ None)) => number,
            _ => return Err(Error::argument("device", format!("{name:?}"), "a number after wgpu: or cuda: only")),
        };
        match kind {
            "auto" => {
                open_cuda(name, 0).or_else(|_| open_wgpu(name, None)).or_else(|_| Cpu::new(threads).map(Self::Cpu))
            }
            "cpu" => Cpu::new(threads).map(Self::Cpu),
            "reference" => Ok(Self::Reference(Reference)),
            "wgpu" => open_wgpu(name, number),
            "cuda" => open_cuda(name, number.unwrap_or(0)),
            _ => Err(Error::argument("device", format!("{name:?}"), "auto, cpu, wgpu[:N], cuda[:N|:all] or reference")),
        }
    }

    /// Runs `work` and tells what it submitted to a GPU; `None` where this is none.
    pub fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Option<Profile>) {
        match self {
            Self::Reference(_) | Self::Cpu(_) => (work(), None),
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => {
                let (result, profile) = cuda.profile(work);
                (result, Some(profile))
            }
            #[cfg(feature = "wgpu")]
            Self::Wgpu(wgpu) => {
                let (result, profile) = wgpu.profile(work);
                (result, Some(profile))
            }
        }
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(_: &str, index: usize) -> Result<Device> {
    Cuda::new(index).map(|cuda| Device::Cuda(Box::new(cuda)))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(name: &str, _: usize) -> Result<Device> {
    Err(Error::device(name, "not built in: this program was built without the feature cuda"))
}

#[cfg(feature = "wgpu")]
fn open_wgpu(_: &str, index: Option<usize>) -> Result<Device> {
    Wgpu::new(index).map(|wgpu| Device::Wgpu(Box::new(wgpu)))
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(name: &str, _: Option<usize>) -> Result<Device> {
    Err(Error::device(name, "not built in: this program was built without the feature wgpu"))
}

impl Shaped for DeviceTensor {
    fn shape(&self) -> Shape {
        match self {
            Self::Host(tensor) => tensor.shape(),
            #[cfg(feature = "cuda")]
            Self::Cuda(tensor) => tensor.shape(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(tensor) => tensor.shape(),
        }
    }
}

impl Shaped for DeviceLinear {
    fn shape(&self) -> Shape {
        match self {
            Self::Reference(layer) => layer.shape(),
            Self::Cpu(layer) => layer.shape(),
            #[cfg(feature = "cuda")]
            Self::Cuda(layer) => layer.shape(),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(layer) => layer.shape(),
        }
    }
}

/// A backend that a [`Device`] can hold: how it finds what is its own.
trait Member: Backend {
    fn tensor<'a>(&self, tensor: &'a DeviceTensor) -> Result<&'a Self::Tensor>;
    fn tensor_mut<'a>(&self, tensor: &'a mut DeviceTensor) -> Result<&'a mut Self::Tensor>;
    fn layer<'a>(&self, layer: &'a DeviceLinear) -> Result<&'a Self::Linear>;
    fn wrap_tensor(tensor: Self::Tensor) -> DeviceTensor;
    fn wrap_layer(layer: Self::Linear) -> DeviceLinear;
}

macro_rules! member {
    ($backend:ty, $tensor:ident, $layer:ident) => {
        impl Member for $backend {
            fn tensor<'a>(&self, tensor: &'a DeviceTensor) -> Result<&'a Self::Tensor> {
                match tensor {
                    DeviceTensor::$tensor(tensor) => Ok(tensor),
                    #[cfg(any(feature = "cuda", feature = "wgpu"))]
                    _ => Err(Error::argument("tensor", "one of another device", self.describe())),
                }
            }
            fn tensor_mut<'a>(&self, tensor: &'a mut DeviceTensor) -> Result<&'a mut Self::Tensor> {
                match tensor {
                    DeviceTensor::$tensor(tensor) => Ok(tensor),
                    #[cfg(any(feature = "cuda", feature = "wgpu"))]
                    _ => Err(Error::argument("tensor", "one of another device", self.describe())),
                }
            }
            fn layer<'a>(&self, layer: &'a DeviceLinear) -> Result<&'a Self::Linear> {
                match layer {
                    DeviceLinear::$layer(layer) => Ok(layer),
                    _ => Err(Error::argument("layer", "one packed by another device", self.describe())),
                }
            }
            fn wrap_tensor(tensor: Self::Tensor) -> DeviceTensor {
                DeviceTensor::$tensor(tensor)
            }
            fn wrap_layer(layer: Self::Linear) -> DeviceLinear {
                DeviceLinear::$layer(layer)
            }
        }
    };
}

member!(Reference, Host, Reference);
member!(Cpu, Host, Cpu);
#[cfg(feature = "cuda")]
member!(Cuda, Cuda, Cuda);
#[cfg(feature = "wgpu")]
member!(Wgpu, Wgpu, Wgpu);

/// Evaluates an expression with the backend that a device holds.
macro_rules! on {
    ($device:expr, $backend:ident => $body:expr) => {
        match $device {
            Device::Reference($backend) => $body,
            Device::Cpu($backend) => $body,
            #[cfg(feature = "cuda")]
            Device::Cuda($backend) => {
                let $backend = &**$backend;
                $body
            }
            #[cfg(feature = "wgpu")]
            Device::Wgpu($backend) => {
                let $backend = &**$backend;
                $body
            }
        }
    };
}

fn wrap_tensor<B: Member>(_: &B, tensor: B::Tensor) -> DeviceTensor {
    B::wrap_tensor(tensor)
}

fn wrap_layer<B: Member>(_: &B, layer: B::Linear) -> DeviceLinear {
    B::wrap_layer(layer)
}

impl Backend for Device {
    type Tensor = DeviceTensor;
    type Linear = DeviceLinear;
    type Recording = DeviceRecording;

    fn describe(&self) -> String {
        on!(self, b => b.describe())
    }

    fn activation_budget(&self) -> usize {
        on!(self, b => b.activation_budget())
    }

    fn allocate(&self, shape: Shape) -> Result<DeviceTensor> {
        on!(self, b => Ok(wrap_tensor(b, b.allocate(shape)?)))
    }

    fn activation(&self, precision: Precision) -> Result<DeviceTensor> {
        on!(self, b => Ok(wrap_tensor(b, b.activation(precision)?)))
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<DeviceTensor> {
        on!(self, b => Ok(wrap_tensor(b, b.upload(shape, data)?)))
    }

    fn download(&self, tensor: &DeviceTensor) -> Result<Vec<f32>> {
        on!(self, b => b.download(b.tensor(tensor)?))
    }

    fn reshape(&self, tensor: &mut DeviceTensor, shape: Shape) -> Result<()> {
        on!(self, b => b.reshape(b.tensor_mut(tensor)?, shape))
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<DeviceLinear> {
        on!(self, b => Ok(wrap_layer(b, b.pack(shape, weight, bias, precision)?)))
    }

    fn replay(
        &self,
        recording: &mut DeviceRecording,
        key: usize,
        work: impl FnMut() -> Result<()> + Send,
    ) -> Result<()> {
        #[cfg(not(feature = "cuda"))]
        let _ = recording;
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(cuda) => cuda.replay(&mut recording.cuda, key, work),
            #[cfg(feature = "wgpu")]
            Self::Wgpu(wgpu) => wgpu.replay(&mut (), key, work),
            Self::Cpu(cpu) => cpu.replay(&mut (), key, work),
            Self::Reference(reference) => reference.replay(&mut (), key, work),
        }
    }

    fn crop_resize(
        &self,
        picture: Rgb<'_>,
        plan: &CropPlan,
        views: Range<usize>,
        output: CropOutput<'_, DeviceTensor>,
    ) -> Result<()> {
        on!(self, b => b.crop_resize(picture, plan, views, match output {
            CropOutput::Bytes(bytes) => CropOutput::Bytes(bytes),
            CropOutput::Patches { layout, first_row, out } => {
                CropOutput::Patches { layout, first_row, out: b.tensor_mut(out)? }
            }
        }))
    }

    fn linear(
        &self,
        input: &DeviceTensor,
        layer: &DeviceLinear,
        epilogue: Epilogue,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => b.linear(b.tensor(input)?, b.layer(layer)?, epilogue, b.tensor_mut(out)?))
    }

    fn layer_norm(
        &self,
        input: &DeviceTensor,
        gamma: &DeviceTensor,
        beta: &DeviceTensor,
        eps: f32,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => b.layer_norm(b.tensor(input)?, b.tensor(gamma)?, b.tensor(beta)?, eps, b.tensor_mut(out)?))
    }

    fn attention(
        &self,
        queries: &DeviceTensor,
        keys_values: &DeviceTensor,
        query_offsets: &[u32],
        key_offsets: &[u32],
        heads: usize,
        causal: bool,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => {
            let (queries, keys_values, out) = (b.tensor(queries)?, b.tensor(keys_values)?, b.tensor_mut(out)?);
            b.attention(queries, keys_values, query_offsets, key_offsets, heads, causal, out)
        })
    }

    fn embed_tokens(
        &self,
        tokens: &[u32],
        offsets: &[u32],
        table: &DeviceTensor,
        positions: &DeviceTensor,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => b.embed_tokens(tokens, offsets, b.tensor(table)?, b.tensor(positions)?, b.tensor_mut(out)?))
    }

    fn add_positions(
        &self,
        patches: &DeviceTensor,
        class: &DeviceTensor,
        positions: &DeviceTensor,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => {
            b.add_positions(b.tensor(patches)?, b.tensor(class)?, b.tensor(positions)?, b.tensor_mut(out)?)
        })
    }

    fn gather_rows(&self, input: &DeviceTensor, rows: &[u32], out: &mut DeviceTensor) -> Result<()> {
        on!(self, b => b.gather_rows(b.tensor(input)?, rows, b.tensor_mut(out)?))
    }

    fn l2_normalize(&self, tensor: &mut DeviceTensor) -> Result<()> {
        on!(self, b => b.l2_normalize(b.tensor_mut(tensor)?))
    }

    fn alignment_weights(
        &self,
        rows: &DeviceTensor,
        anchors: &DeviceTensor,
        offsets: &[u32],
        scale: f32,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => b.alignment_weights(b.tensor(rows)?, b.tensor(anchors)?, offsets, scale, b.tensor_mut(out)?))
    }

    fn weighted_similarity(
        &self,
        views: &DeviceTensor,
        view_weights: &DeviceTensor,
        texts: &DeviceLinear,
        text_weights: &DeviceTensor,
        classes: &[u32],
        reduction: Reduction,
        out: &mut DeviceTensor,
    ) -> Result<()> {
        on!(self, b => {
            let (views, view_weights, out) = (b.tensor(views)?, b.tensor(view_weights)?, b.tensor_mut(out)?);
            let (texts, text_weights) = (b.layer(texts)?, b.tensor(text_weights)?);
            b.weighted_similarity(views, view_weights, texts, text_weights, classes, reduction, out)
        })
    }
}
