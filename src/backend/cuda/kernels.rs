//! The kernels that are built in: each image is loaded once, when the first of its kernels is launched.

use super::driver::failed;
use crate::error::{Error, Result};
use crate::lock::lock;
use cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{CudaContext, CudaFunction};
use cudarc::nvrtc::Ptx;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What `build.rs` read off kernels/cuda/ptx.
mod built {
    include!(concat!(env!("OUT_DIR"), "/cuda.rs"));
}

/// Code and the kernels that it has.
struct Image {
    code: Code,
    kernels: &'static [Kernel],
}

/// What the driver loads: text that it compiles for the card, or code of the card's own architecture.
#[allow(dead_code, reason = "a build has one kind")]
enum Code {
    Ptx(&'static str),
    Cubin(&'static [u8]),
}

/// A kernel, and the parameters that it declares: a structure of so many bytes, then so many pointers.
struct Kernel {
    name: &'static str,
    params: usize,
    pointers: usize,
}

/// Dynamic shared memory that needs no permission.
const FREE_SHARED: u32 = 48 << 10;

pub(super) struct Kernels {
    index: usize,
    context: Arc<CudaContext>,
    loaded: Mutex<HashMap<&'static str, Loaded>>,
}

struct Loaded {
    kernel: &'static Kernel,
    function: CudaFunction,
    /// Bytes of dynamic shared memory that it may take.
    shared: u32,
}

impl Kernels {
    pub(super) fn new(index: usize, context: Arc<CudaContext>) -> Self {
        Self { index, context, loaded: Mutex::default() }
    }

    /// A kernel's function, with leave to use so much dynamic shared memory.
    ///
    /// # Errors
    /// When the kernel declares a structure of another size, or another number of pointers.
    pub(super) fn function(&self, name: &str, params: usize, pointers: usize, shared: u32) -> Result<CudaFunction> {
        let mut loaded = lock(&self.loaded);
        if !loaded.contains_key(name) {
            self.load(name, &mut loaded)?;
        }
        let missing = || Error::device(format!("cuda:{}", self.index), format!("no kernel {name}"));
        let Loaded { kernel, function, shared: allowed } = loaded.get_mut(name).ok_or_else(missing)?;
        if (params, pointers) != (kernel.params, kernel.pointers) {
            let words = |params, pointers| format!("{params} bytes and {pointers} pointers");
            let expected = words(kernel.params, kernel.pointers);
            return Err(Error::argument(format!("parameters of {name}"), words(params, pointers), expected));
        }
        if shared > *allowed {
            let attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, shared as i32).map_err(failed(self.index))?;
            *allowed = shared;
        }
        Ok(function.clone())
    }

    /// Loads the image that has the kernel, with all its kernels.
    fn load(&self, name: &str, loaded: &mut HashMap<&'static str, Loaded>) -> Result<()> {
        let of = |image: &&Image| image.kernels.iter().any(|kernel| kernel.name == name);
        let Some(image) = built::IMAGES.iter().find(of) else { return Ok(()) };
        let code = match image.code {
            Code::Ptx(text) => Ptx::from_src(text),
            Code::Cubin(code) => Ptx::from_binary(code.to_vec()),
        };
        let module = self.context.load_module(code).map_err(failed(self.index))?;
        for kernel in image.kernels {
            let function = module.load_function(kernel.name).map_err(failed(self.index))?;
            loaded.insert(kernel.name, Loaded { kernel, function, shared: FREE_SHARED });
        }
        Ok(())
    }
}
