//! From a device's name to an engine.

use super::{Engine, Loading, On};
#[cfg(feature = "cuda")]
use crate::backend::Cuda;
#[cfg(feature = "wgpu")]
use crate::backend::Wgpu;
use crate::backend::{Backend, Cpu, Reference};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The devices that a name stands for: `cuda:all` all of the driver's, any other name itself. Never none.
pub(super) fn names(name: &str) -> Result<Vec<String>> {
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

/// Opens a device by name: `auto`, `cpu`, `reference`, `wgpu[:N]` or `cuda[:N]`, with the towers of `loading` where there is
/// one. `threads` is for the CPU (0: as many as the machine runs at once). `auto` is a GPU where there is one, through CUDA
/// or else wgpu, and else the CPU; `cuda` alone is the first device.
///
/// # Errors
/// When the name is none of these, the device is not built in or not there, or the towers cannot be loaded.
pub(crate) fn open(name: &str, threads: usize, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    match Opened::by_name(name, threads)? {
        Opened::Reference(backend) => engine(backend, loading),
        Opened::Cpu(backend) => engine(backend, loading),
        #[cfg(feature = "cuda")]
        Opened::Cuda(backend) => engine(*backend, loading),
        #[cfg(feature = "wgpu")]
        Opened::Wgpu(backend) => engine(*backend, loading),
    }
}

fn engine<B: Backend + 'static>(backend: B, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    Ok(match loading {
        Some(loading) => Arc::new(On::load(backend, loading)?),
        None => Arc::new(On::bare(backend)),
    })
}

/// A device that has been opened.
enum Opened {
    Reference(Reference),
    Cpu(Cpu),
    #[cfg(feature = "cuda")]
    Cuda(Box<Cuda>),
    #[cfg(feature = "wgpu")]
    Wgpu(Box<Wgpu>),
}

impl Opened {
    fn by_name(name: &str, threads: usize) -> Result<Self> {
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
}

#[cfg(feature = "cuda")]
fn open_cuda(_: &str, index: usize) -> Result<Opened> {
    Cuda::new(index).map(|cuda| Opened::Cuda(Box::new(cuda)))
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(name: &str, _: usize) -> Result<Opened> {
    Err(Error::device(name, "not built in: this program was built without the feature cuda"))
}

#[cfg(feature = "wgpu")]
fn open_wgpu(_: &str, index: Option<usize>) -> Result<Opened> {
    Wgpu::new(index).map(|wgpu| Opened::Wgpu(Box::new(wgpu)))
}

#[cfg(not(feature = "wgpu"))]
fn open_wgpu(name: &str, _: Option<usize>) -> Result<Opened> {
    Err(Error::device(name, "not built in: this program was built without the feature wgpu"))
}
