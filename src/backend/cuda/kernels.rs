//! The built-in kernels: each image is loaded once, when the first of its kernels is launched.

use super::device::Device;
use super::handles::Function;
use crate::error::{Error, Result};
use crate::lock::lock;
use cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// The table that `build.rs` generated from kernels/cuda/ptx.
mod built {
    include!(concat!(env!("OUT_DIR"), "/cuda.rs"));
}

/// An image of code, and its kernels.
struct Image {
    /// What the driver loads: PTX, which it compiles for the card, or machine code of the card's architecture.
    code: &'static [u8],
    kernels: &'static [Kernel],
}

/// A kernel and its parameters.
struct Kernel {
    name: &'static str,
    parameters: Parameters,
}

/// The parameters that a kernel declares: a structure of `bytes` bytes, then tensor maps, then pointers.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Parameters {
    pub(super) bytes: usize,
    pub(super) maps: usize,
    pub(super) pointers: usize,
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, {} tensor maps and {} pointers", self.bytes, self.maps, self.pointers)
    }
}

/// Dynamic shared memory that a block may use without opting in: 48 KiB (CUDA C++ Programming Guide, compute
/// capabilities).
const FREE_SHARED: u32 = 48 << 10;

pub(super) struct Kernels {
    device: Arc<Device>,
    loaded: Mutex<HashMap<&'static str, Loaded>>,
}

struct Loaded {
    kernel: &'static Kernel,
    function: Function,
    /// Bytes of dynamic shared memory that the function may use.
    shared: u32,
}

impl Kernels {
    pub(super) fn new(device: Arc<Device>) -> Self {
        Self { device, loaded: Mutex::default() }
    }

    /// A kernel's function, allowed to use `shared` bytes of dynamic shared memory.
    ///
    /// # Errors
    /// When the kernel declares other parameters.
    pub(super) fn function(&self, name: &str, parameters: Parameters, shared: u32) -> Result<Function> {
        let mut loaded = lock(&self.loaded);
        self.load(name, &mut loaded)?;
        let missing = || self.device.error(format!("no kernel {name}"));
        let Loaded { kernel, function, shared: allowed } = loaded.get_mut(name).ok_or_else(missing)?;
        if parameters != kernel.parameters {
            let what = format!("parameters of {name}");
            return Err(Error::argument(what, parameters.to_string(), kernel.parameters.to_string()));
        }
        if shared > *allowed {
            let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set(attribute, shared as i32)?;
            *allowed = shared;
        }
        Ok(function.clone())
    }

    /// Loads a kernel before its first launch.
    ///
    /// # Errors
    /// When the driver refuses its image.
    pub(super) fn prepare(&self, name: &str) -> Result<()> {
        self.load(name, &mut lock(&self.loaded))
    }

    /// Loads the image that contains the kernel, unless it is, and registers all its kernels.
    fn load(&self, name: &str, loaded: &mut HashMap<&'static str, Loaded>) -> Result<()> {
        if loaded.contains_key(name) {
            return Ok(());
        }
        let of = |image: &&Image| image.kernels.iter().any(|kernel| kernel.name == name);
        let Some(image) = built::IMAGES.iter().find(of) else { return Ok(()) };
        let names = image.kernels.iter().map(|kernel| kernel.name);
        for (kernel, function) in image.kernels.iter().zip(Function::load(&self.device, image.code, names)?) {
            loaded.insert(kernel.name, Loaded { kernel, function, shared: FREE_SHARED });
        }
        Ok(())
    }
}
