//! From a device's name to an engine.

use super::{Engine, Loading, On, short_name};
#[cfg(feature = "cuda")]
use crate::backend::Cuda;
#[cfg(feature = "wgpu")]
use crate::backend::Wgpu;
use crate::backend::args::L2NormalizeArgs;
use crate::backend::{Backend, Cpu, Reference, Shape};
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
    let count = cuda(name, None).map(|_| 0)?;
    if count == 0 {
        return Err(Error::device(name, "the NVIDIA driver has no device"));
    }
    Ok((0..count).map(|index| format!("cuda:{index}")).collect())
}

/// An engine, and why each device that `auto` would rather have taken was left, in a line each.
pub(crate) type Taken = (Arc<dyn Engine>, Vec<String>);

/// Opens a device by name: `auto`, `cpu`, `reference`, `wgpu[:N|:NAME]` or `cuda[:N|:UUID]`, with the towers of
/// `loading` where there is one. `threads` is for the CPU (0: as many as the machine runs at once). `cuda` alone is the first device.
///
/// `auto` is the first of CUDA, a real GPU through wgpu, and the CPU that opens, computes and holds the towers.
///
/// # Errors
/// When the name is none of these, the device is not built in or not there, or the towers cannot be loaded.
pub(crate) fn open(name: &str, threads: usize, loading: Option<&Loading<'_>>) -> Result<Taken> {
    if name != "auto" {
        return Ok((on(name, threads, loading)?, Vec::new()));
    }
    let mut left = Vec::new();
    for device in ["cuda", "wgpu"] {
        match on(device, threads, loading) {
            Ok(engine) => return Ok(taken(engine, &left)),
            Err(Error::NoDevice { .. }) => {}
            // An argument is what this device cannot do, as a precision; the CPU refuses what none can.
            Err(error @ Error::Argument { .. }) => left.push(format!("device {device}: {error}")),
            Err(error @ (Error::Device { .. } | Error::OutOfMemory { .. })) => left.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(taken(on("cpu", threads, loading)?, &left))
}

fn taken(engine: Arc<dyn Engine>, left: &[String]) -> Taken {
    let description = engine.describe();
    let device = short_name(&description);
    let note = |reason: &String| format!("{reason}; running on {device}");
    let notes = left.iter().map(note).collect();
    (engine, notes)
}

fn on(name: &str, threads: usize, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    let (kind, which) = name.split_once(':').map_or((name, None), |(kind, which)| (kind, Some(which)));
    match (kind, which) {
        ("cpu", None) => engine(Cpu::new(threads)?, loading),
        ("reference", None) => engine(Reference, loading),
        ("cuda", which) => engine(cuda(name, which)?, loading),
        ("wgpu", which) => {
            let open = || engine(wgpu(name, which)?, loading);
            // Where memory was short for a moment the device is lost with all that it held: once more from the start.
            open().or_else(|error| if is_lost_by_memory(&error) { open() } else { Err(error) })
        }
        _ => Err(unknown(name, "auto, cpu, wgpu[:N|:NAME], cuda[:N|:UUID|:all] or reference")),
    }
}

/// Whether wgpu has given a device up because memory was short.
fn is_lost_by_memory(error: &Error) -> bool {
    matches!(error, Error::Device { reason, .. } if reason.contains("device lost") && reason.contains("memory"))
}

fn unknown(name: &str, expected: &str) -> Error {
    Error::argument("device", format!("{name:?}"), expected)
}

fn engine<B: Backend + 'static>(backend: B, loading: Option<&Loading<'_>>) -> Result<Arc<dyn Engine>> {
    if !backend.is_host() {
        try_out(&backend)?;
    }
    Ok(match loading {
        Some(loading) => Arc::new(On::load(backend, loading)?),
        None => Arc::new(On::bare(backend)),
    })
}

/// Runs one small kernel: a driver may open a device that cannot compile or compute.
fn try_out<B: Backend>(backend: &B) -> Result<()> {
    let mut row = backend.upload(Shape::new(1, 2), &[3.0, 4.0])?;
    backend.l2_normalize(L2NormalizeArgs { tensor: &mut row })?;
    let found = backend.download(&row)?;
    let right = |(found, expected): (&f32, f32)| (found - expected).abs() < 1e-3;
    if found.iter().zip([0.6, 0.8]).all(right) {
        return Ok(());
    }
    Err(Error::device(backend.describe(), format!("computes wrong: found {found:?}, expected [0.6, 0.8]")))
}

#[cfg(feature = "cuda")]
fn cuda(name: &str, which: Option<&str>) -> Result<Cuda> {
    match which.map_or(Ok(0), str::parse) {
        Ok(index) => Cuda::new(index),
        Err(_) => {
            let uuid = which.filter(|which| which.starts_with("GPU-") || which.starts_with("MIG-"));
            Cuda::with_uuid(uuid.ok_or_else(|| unknown(name, "a number or a UUID (GPU-…) after cuda:"))?)
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: Option<&str>) -> Result<Reference> {
    Err(Error::no_device(name, "not built in: this program was built without the feature cuda"))
}

#[cfg(feature = "wgpu")]
fn wgpu(_: &str, which: Option<&str>) -> Result<Wgpu> {
    let number = which.map(str::parse).transpose();
    number.map_or_else(|_| Wgpu::named(which.unwrap_or_default()), Wgpu::new)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str, _: Option<&str>) -> Result<Reference> {
    Err(Error::no_device(name, "not built in: this program was built without the feature wgpu"))
}
