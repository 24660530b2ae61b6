//! Whether there is a driver and a device, asked so that nothing panics.

use crate::error::{Error, Result};
use cudarc::driver::{CudaContext, DriverError, result, sys};
use std::sync::Arc;

/// The oldest driver that reads the built-in PTX: CUDA 12.0.
const LEAST_VERSION: i32 = 12_000;
/// The oldest compute capability: `mma.m16n8k16` and `cp.async`.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// Bytes of freed memory that the driver keeps for what is allocated next. By itself it keeps none: each wait would give
/// back to the system what the next batch asks for again.
const KEPT: u64 = 256 << 20;

/// A driver's error as one of the device.
pub(super) fn failed(index: usize) -> impl Fn(DriverError) -> Error {
    move |error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Error::OutOfMemory { device: format!("cuda:{index}"), reason: text(error) }
        }
        _ => Error::device(format!("cuda:{index}"), text(error)),
    }
}

/// The error's own words; the code where the driver has none.
fn text(error: DriverError) -> String {
    let words = error.error_string().ok().map(|words| words.to_string_lossy().into_owned());
    words.unwrap_or_else(|| format!("{:?}", error.0))
}

/// How many devices there are.
pub(super) fn count() -> Result<usize> {
    let failed = |what: &str, error| Error::device("cuda", format!("{what}: {}", text(error)));
    // SAFETY: looks for the library; nothing of it is called. cudarc panics in any other call where it is missing.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::no_device("cuda", "no NVIDIA driver: libcuda is not on this machine"));
    }
    result::init().map_err(|error| failed("the NVIDIA driver does not start", error))?;
    let mut version = 0;
    // SAFETY: a pointer to one integer, as the function asks for.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(|error| failed("no driver version", error))?;
    if version < LEAST_VERSION {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(Error::device("cuda", format!("the NVIDIA driver is for CUDA {major}.{minor}, 12.0 is needed")));
    }
    let count = CudaContext::device_count().map_err(|error| failed("no number of devices", error))?;
    Ok(count.max(0) as usize)
}

/// The context of a device that the kernels can run on.
pub(super) fn open(index: usize) -> Result<Arc<CudaContext>> {
    let device = format!("cuda:{index}");
    match count()? {
        0 => return Err(Error::device(device, "the NVIDIA driver has no device")),
        count if index >= count => {
            return Err(Error::device(device, format!("there are {count} devices, counted from 0")));
        }
        _ => {}
    }
    let context = CudaContext::new(index).map_err(failed(index))?;
    let capability = context.compute_capability().map_err(failed(index))?;
    if capability < LEAST_CAPABILITY {
        let (major, minor) = capability;
        return Err(Error::device(device, format!("compute capability {major}.{minor}, 8.0 is needed")));
    }
    if context.has_async_alloc() {
        keep_freed_memory(&context).map_err(failed(index))?;
    }
    Ok(context)
}

fn keep_freed_memory(context: &CudaContext) -> std::result::Result<(), DriverError> {
    let (attribute, mut bytes) = (sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, KEPT);
    // SAFETY: the context's device has a pool, which allocations come from; the attribute's value is 64 bits.
    unsafe {
        let pool = result::device::get_mem_pool(context.cu_device())?;
        sys::cuMemPoolSetAttribute(pool, attribute, std::ptr::from_mut(&mut bytes).cast()).result()
    }
}
