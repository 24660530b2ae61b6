//! Which device a model runs on.

use crate::error::{Error, Result};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Where a model runs. As text, which [`FromStr`] reads and [`Display`] writes: `auto`, `cpu`, `reference`, `cuda:N`,
/// `cuda:GPU-…`, `cuda:all`, `wgpu`, `wgpu:N` or `wgpu:NAME`; `cuda` is the first one.
///
/// ```
/// use crossalign::Device;
/// assert_eq!("cuda:1".parse::<Device>()?, Device::cuda(1));
/// assert_eq!(Device::default().to_string(), "auto");
/// # Ok::<(), crossalign::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The first of CUDA, a GPU through wgpu, and the CPU that works and has memory for the model; see
    /// [`Model::device_notes`](super::Model::device_notes).
    #[default]
    Auto,
    /// The host's processors.
    Cpu,
    /// Plain scalar code, which the other devices are tested against.
    Reference,
    /// An NVIDIA GPU, by the driver's number, from 0 on; `CUDA_VISIBLE_DEVICES` chooses and orders them.
    Cuda(usize),
    /// An NVIDIA GPU, by its UUID as `nvidia-smi -L` prints it, or by a unique prefix of it.
    CudaUuid(String),
    /// All NVIDIA GPUs of the driver: they share the pictures.
    CudaAll,
    /// A wgpu adapter, by its number in `crossalign devices`; without a number the first that is a GPU.
    Wgpu(Option<usize>),
    /// The first wgpu adapter whose name contains this, whatever its case.
    WgpuNamed(String),
}

impl Device {
    /// The NVIDIA GPU of this number.
    pub fn cuda(index: usize) -> Self {
        Self::Cuda(index)
    }

    /// The wgpu adapter of this number.
    pub fn wgpu(index: usize) -> Self {
        Self::Wgpu(Some(index))
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = |expected| Error::argument("device", format!("{text:?}"), expected);
        let (kind, which) = text.split_once(':').map_or((text, None), |(kind, which)| (kind, Some(which)));
        match (kind, which) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("reference", None) => Ok(Self::Reference),
            ("cuda", None) => Ok(Self::Cuda(0)),
            ("cuda", Some("all")) => Ok(Self::CudaAll),
            ("cuda", Some(uuid)) if uuid.starts_with("GPU-") || uuid.starts_with("MIG-") => {
                Ok(Self::CudaUuid(uuid.into()))
            }
            ("cuda", Some(index)) => {
                index.parse().map(Self::Cuda).map_err(|_| unknown("all, a number or a UUID (GPU-…) after cuda:"))
            }
            ("wgpu", None) => Ok(Self::Wgpu(None)),
            ("wgpu", Some(which)) => {
                Ok(which.parse().map_or_else(|_| Self::WgpuNamed(which.into()), |index| Self::Wgpu(Some(index))))
            }
            _ => Err(unknown("auto, cpu, wgpu[:N|:NAME], cuda[:N|:UUID|:all] or reference")),
        }
    }
}

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Reference => f.write_str("reference"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::CudaUuid(uuid) => write!(f, "cuda:{uuid}"),
            Self::CudaAll => f.write_str("cuda:all"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
            Self::WgpuNamed(name) => write!(f, "wgpu:{name}"),
        }
    }
}
