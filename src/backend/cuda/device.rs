//! A device: its properties and its primary context.

use super::driver::{Driver, driver};
use super::functions::Functions;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUdevice_attribute::{self, *};
use cudarc::driver::sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
use cudarc::driver::sys::{CUcontext, CUdevice, CUmemoryPool};
use std::ffi::{CStr, c_char, c_int};
use std::ptr::{from_mut, null_mut};
use std::sync::Arc;

/// The oldest compute capability with `mma.m16n8k16` and `cp.async`.
const LEAST_CAPABILITY: (c_int, c_int) = (8, 0);

/// Bytes of freed memory that the driver's pool keeps. By default it keeps none: each synchronisation would return to
/// the system what the next batch allocates again.
const KEPT: u64 = 256 << 20;

pub(super) struct Device {
    pub(super) index: usize,
    driver: &'static Driver,
    number: CUdevice,
    /// The primary context; null if only the device's properties are needed.
    context: CUcontext,
    /// The memory pool; null if the device has no stream-ordered allocation.
    pool: CUmemoryPool,
}

// SAFETY: any thread may use the driver's handles.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// How many devices the driver has.
    pub(super) fn count() -> Result<usize> {
        // SAFETY: the function takes a pointer to a number.
        let count: c_int = driver()?.ask("cuda", |driver, count| unsafe { (driver.cuDeviceGetCount)(count) })?;
        Ok(count.max(0) as usize)
    }

    /// The index of the device whose UUID starts with `begin`, which includes the `GPU-` or `MIG-`.
    pub(super) fn by_uuid(begin: &str) -> Result<usize> {
        let uuids = (0..Self::count()?).map(|index| Self::find(index)?.uuid()).collect::<Result<Vec<_>>>()?;
        let digits = |uuid: &str| uuid.get(4..).unwrap_or_default().to_lowercase();
        let found: Vec<usize> = (0..uuids.len()).filter(|&i| digits(&uuids[i]).starts_with(&digits(begin))).collect();
        match found[..] {
            [index] => Ok(index),
            _ => {
                let reason = format!("{} devices have such a UUID: there are {}", found.len(), uuids.join(", "));
                Err(Error::device(format!("cuda:{begin}"), reason))
            }
        }
    }

    /// The device with this index, without a context.
    fn find(index: usize) -> Result<Self> {
        let (name, count, driver) = (format!("cuda:{index}"), Self::count()?, driver()?);
        if index >= count {
            return Err(Error::device(name, format!("the NVIDIA driver has {count} devices, counted from 0")));
        }
        // SAFETY: the function takes a pointer to a number.
        let number = driver.ask(&name, |driver, number| unsafe { (driver.cuDeviceGet)(number, index as c_int) })?;
        Ok(Self { index, driver, number, context: null_mut(), pool: null_mut() })
    }

    /// The device with this index and its primary context, if the kernels can run on it.
    pub(super) fn open(index: usize) -> Result<Arc<Self>> {
        let mut device = Self::find(index)?;
        let capability @ (major, minor) = device.capability()?;
        if capability < LEAST_CAPABILITY {
            let reason = format!("has compute capability {major}.{minor}, 8.0 is needed: try it as wgpu");
            return Err(device.error(format!("{} {reason}", device.place()?)));
        }
        let number = device.number;
        // SAFETY: the functions take pointers to handles.
        device.context = device.ask(|driver, context| unsafe { (driver.cuDevicePrimaryCtxRetain)(context, number) })?;
        if device.attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0 {
            // SAFETY: as above.
            device.pool = device.ask(|driver, pool| unsafe { (driver.cuDeviceGetMemPool)(pool, number) })?;
            let (pool, mut bytes) = (device.pool, KEPT);
            device.call(|driver| {
                // SAFETY: the attribute's value has 64 bits.
                unsafe {
                    (driver.cuMemPoolSetAttribute)(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, from_mut(&mut bytes).cast())
                }
            })?;
        }
        Ok(Arc::new(device))
    }

    fn name(&self) -> String {
        format!("cuda:{}", self.index)
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::device(self.name(), reason)
    }

    pub(super) fn functions(&self) -> &Functions {
        &self.driver.functions
    }

    /// Calls the driver with the device's context current on this thread.
    pub(super) fn call(&self, call: impl FnOnce(&Functions) -> u32) -> Result<()> {
        let functions = self.functions();
        // SAFETY: the context is retained by this device, or null.
        let code = match unsafe { (functions.cuCtxSetCurrent)(self.context) } {
            0 => call(functions),
            code => code,
        };
        self.driver.check(&self.name(), code)
    }

    /// As [`Device::call`], for a function that returns a value through a pointer.
    pub(super) fn ask<T: bytemuck::Zeroable>(&self, ask: impl FnOnce(&Functions, *mut T) -> u32) -> Result<T> {
        let mut answer = T::zeroed();
        self.call(|functions| ask(functions, &mut answer)).map(|()| answer)
    }

    fn attribute(&self, attribute: CUdevice_attribute) -> Result<c_int> {
        // SAFETY: the function takes a pointer to a number.
        self.ask(|driver, value| unsafe { (driver.cuDeviceGetAttribute)(value, attribute, self.number) })
    }

    pub(super) fn capability(&self) -> Result<(c_int, c_int)> {
        let major = self.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        Ok((major, self.attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?))
    }

    /// Streaming multiprocessors.
    pub(super) fn multiprocessors(&self) -> Result<usize> {
        Ok(self.attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.max(1) as usize)
    }

    /// The UUID, as nvidia-smi prints it.
    fn uuid(&self) -> Result<String> {
        // SAFETY: the function takes a pointer to a structure of 16 bytes.
        let uuid =
            self.ask(|driver, uuid: *mut [u8; 16]| unsafe { (driver.cuDeviceGetUuid_v2)(uuid.cast(), self.number) });
        let hex = format!("{:032x}", u128::from_be_bytes(uuid?));
        Ok(format!("GPU-{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }

    /// Its name and its address on the PCI bus.
    fn place(&self) -> Result<String> {
        type Text = unsafe extern "C" fn(*mut c_char, c_int, CUdevice) -> u32;
        let text = |of: fn(&Functions) -> Text| {
            // SAFETY: the functions take a buffer and its length in characters.
            let text = self.ask(|driver, text: *mut [u8; 128]| unsafe { of(driver)(text.cast(), 128, self.number) });
            text.map(|text| CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned())
        };
        Ok(format!("{} at {}", text(|driver| driver.cuDeviceGetName)?, text(|driver| driver.cuDeviceGetPCIBusId)?))
    }

    /// Bytes of free memory, and of all memory.
    pub(super) fn memory(&self) -> Result<(usize, usize)> {
        // SAFETY: the function takes pointers to two numbers.
        let answer = self.ask(|driver, bytes: *mut [usize; 2]| unsafe {
            (driver.cuMemGetInfo_v2)(bytes.cast(), bytes.cast::<usize>().add(1))
        });
        answer.map(|[free, all]| (free, all))
    }

    /// Returns the freed memory that the pool keeps to the system.
    pub(super) fn trim(&self) -> Result<()> {
        // SAFETY: the device's pool.
        if self.has_pool() { self.call(|driver| unsafe { (driver.cuMemPoolTrimTo)(self.pool, 0) }) } else { Ok(()) }
    }

    /// Whether memory is allocated in stream order.
    pub(super) fn has_pool(&self) -> bool {
        !self.pool.is_null()
    }

    /// A description of the device in one line.
    pub(super) fn describe(&self) -> Result<String> {
        let ((major, minor), (free, all)) = (self.capability()?, self.memory()?);
        Ok(format!(
            "{}, {}, compute capability {major}.{minor}, {} multiprocessors, {} of {} MiB free, driver for CUDA {}, \
             f32, f16 and bf16",
            self.place()?,
            self.uuid()?,
            self.multiprocessors()?,
            free >> 20,
            all >> 20,
            self.driver.cuda(),
        ))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.context.is_null() {
            // SAFETY: `open` retained the context once.
            let _ = self.call(|driver| unsafe { (driver.cuDevicePrimaryCtxRelease_v2)(self.number) });
        }
    }
}
