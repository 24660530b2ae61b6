//! Opening a device as an engine.

use super::{Device, Engine, Loading, On, short_name};
#[cfg(feature = "cuda")]
use crate::backend::Cuda;
#[cfg(feature = "wgpu")]
use crate::backend::Wgpu;
use crate::backend::args::L2NormalizeArgs;
use crate::backend::{Backend, Cpu, Reference, Shape};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The devices that `device` stands for: [`Device::CudaAll`] for all of the driver's, any other for itself. Never
/// empty.
pub(super) fn each(device: &Device) -> Result<Vec<Device>> {
    if *device != Device::CudaAll {
        return Ok(vec![device.clone()]);
    }
    #[cfg(feature = "cuda")]
    let count = Cuda::count()?;
    #[cfg(not(feature = "cuda"))]
    let count = Err(not_built_in(device, "cuda"))?;
    if count == 0 {
        return Err(Error::device(device.to_string(), "the NVIDIA driver has no device"));
    }
    Ok((0..count).map(Device::Cuda).collect())
}

/// An engine, and one line for each device that `auto` prefers but could not use, with the reason.
pub(crate) type Taken = (Arc<dyn Engine>, Vec<String>);

/// Opens a device, with the towers of `loading` where there is one. `threads` is for the CPU (0: as many as the machine runs
/// at once). Of [`Device::CudaAll`] the first is opened.
///
/// `auto` is the first of CUDA, a real GPU through wgpu, and the CPU that opens, computes, and has memory for the
/// towers.
///
/// # Errors
/// When the device is not built in or not there, or the towers cannot be loaded.
pub(crate) async fn open(device: &Device, threads: usize, loading: Option<&Loading<'_>>) -> Result<Taken> {
    if *device != Device::Auto {
        return Ok((on(device, threads, loading).await?, Vec::new()));
    }
    let mut left = Vec::new();
    for device in [Device::Cuda(0), Device::Wgpu(None)] {
        match on(&device, threads, loading).await {
            Ok(engine) => return Ok(taken(engine, &left)),
            Err(Error::NoDevice { .. }) => {}
            // An argument that this device cannot do, such as a precision; the CPU refuses what no device can.
            Err(error @ Error::Argument { .. }) => left.push(format!("device {device}: {error}")),
            Err(error @ (Error::Device { .. } | Error::OutOfMemory { .. })) => left.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(taken(on(&Device::Cpu, threads, loading).await?, &left))
}

fn taken(engine: Arc<dyn Engine>, left: &[String]) -> Taken {
    let device = short_name(&engine.facts().description);
    let note = |reason: &String| format!("{reason}; running on {device}");
    let notes = left.iter().map(note).collect();
    (engine, notes)
}

async fn on(device: &Device, threads: usize, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    match device {
        Device::Cpu | Device::Auto => engine(Cpu::new(threads)?, loading).await,
        Device::Reference => engine(Reference, loading).await,
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => engine(Cuda::new(*index)?, loading).await,
        #[cfg(feature = "cuda")]
        Device::CudaAll => engine(Cuda::new(0)?, loading).await,
        #[cfg(feature = "cuda")]
        Device::CudaUuid(uuid) => engine(Cuda::with_uuid(uuid)?, loading).await,
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) | Device::CudaAll | Device::CudaUuid(_) => Err(not_built_in(device, "cuda")),
        #[cfg(feature = "wgpu")]
        Device::Wgpu(index) => on_wgpu(|| Wgpu::new_async(*index), loading).await,
        #[cfg(feature = "wgpu")]
        Device::WgpuNamed(name) => on_wgpu(|| Wgpu::named_async(name), loading).await,
        #[cfg(not(feature = "wgpu"))]
        Device::Wgpu(_) | Device::WgpuNamed(_) => Err(not_built_in(device, "wgpu")),
    }
}

#[cfg(not(all(feature = "cuda", feature = "wgpu")))]
fn not_built_in(device: &Device, feature: &str) -> Error {
    Error::no_device(device.to_string(), format!("not built in: this program was built without the feature {feature}"))
}

/// Opens twice if need be: when memory was short for a moment, wgpu loses the device with all that it held.
#[cfg(feature = "wgpu")]
async fn on_wgpu(open: impl AsyncFn() -> Result<Wgpu>, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    match engine(open().await?, loading).await {
        Err(Error::Device { reason, .. }) if reason.contains("device lost") && reason.contains("memory") => {
            engine(open().await?, loading).await
        }
        opened => opened,
    }
}

async fn engine<B: Backend + 'static>(backend: B, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    if !backend.is_host() {
        try_out(&backend).await?;
    }
    Ok(Arc::new(On::load(backend, loading)?))
}

/// Runs one small kernel: a driver may open a device that cannot compile or compute.
async fn try_out<B: Backend>(backend: &B) -> Result<()> {
    let mut row = backend.upload(Shape::new(1, 2), &[3.0, 4.0])?;
    backend.l2_normalize(L2NormalizeArgs { tensor: &mut row })?;
    let [found] = backend.download_later([&row])?.await?;
    let right = |(found, expected): (&f32, f32)| (found - expected).abs() < 1e-3;
    if found.iter().zip([0.6, 0.8]).all(right) {
        return Ok(());
    }
    Err(Error::device(backend.describe(), format!("computes wrong: found {found:?}, expected [0.6, 0.8]")))
}
