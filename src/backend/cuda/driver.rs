//! The driver: finding its library, and its errors as text.

use super::functions::Functions;
use crate::error::{Error, Result};
use crate::process::Process;
use cudarc::driver::sys::CUresult;
use libloading::Library;
use std::error::Error as _;
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// The oldest driver that reads the built-in PTX: CUDA 12.0.
const LEAST_VERSION: i32 = 12_000;

pub(super) struct Driver {
    pub(super) functions: Functions,
    /// The CUDA version: 12080 for CUDA 12.8.
    pub(super) version: i32,
    library: Library,
    process: Process,
}

/// The driver, started at the first call and never unloaded.
pub(super) fn driver() -> Result<&'static Driver> {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    let driver = match DRIVER.get() {
        Some(driver) => driver,
        None => Driver::find(&libraries()).map(|driver| DRIVER.get_or_init(|| driver))?,
    };
    driver.process.check("cuda").map(|()| driver)
}

/// Where the library may be: where the linker finds it, then folders that are not on the linker's path: WSL, NixOS,
/// containers. Not the toolkit's `libcuda.so`, which is a stub, not a driver.
fn libraries() -> Vec<String> {
    if cfg!(windows) {
        return vec!["nvcuda.dll".into()];
    }
    let multiarch = format!("/usr/lib/{}-linux-gnu/", std::env::consts::ARCH);
    let (wsl, nix) = ("/usr/lib/wsl/lib/", "/run/opengl-driver/lib/");
    let folders = ["", wsl, nix, "/usr/lib64/", &multiarch, "/usr/local/nvidia/lib64/", "/usr/local/cuda/compat/"];
    folders.map(|folder| format!("{folder}libcuda.so.1")).to_vec()
}

impl Driver {
    /// Opens the first of these libraries that is a driver.
    fn find(libraries: &[String]) -> Result<Self> {
        let (mut absent, mut useless) = (None, None);
        for name in libraries {
            match Self::open(name) {
                Ok(started) => return started,
                Err(error @ Error::NoDevice { .. }) => _ = absent.get_or_insert(error),
                Err(error) => _ = useless.get_or_insert(error),
            }
        }
        // A library that exists but is no driver says more than one that does not exist.
        Err(useless.or(absent).unwrap_or_else(|| Error::no_device("cuda", "no NVIDIA driver")))
    }

    /// Loads a library and starts its driver.
    ///
    /// # Errors
    /// When the library is no driver: the next one may be.
    fn open(name: &str) -> Result<Result<Self>> {
        // SAFETY: programs are meant to load this library; if another one has its name, the user has set up the machine
        // so.
        let library = unsafe { Library::new(name) };
        // The linker's message is the error's source.
        let words = |error: libloading::Error| error.source().map_or(error.to_string(), ToString::to_string);
        let library = library.map_err(|error| not_loaded(name, &words(error)))?;
        let functions = match Functions::of(&library) {
            Ok(functions) => functions,
            Err(missing) => {
                let reason = format!(
                    "the NVIDIA driver ({name}) has no function {missing}: one for CUDA 12.0 or later is needed"
                );
                return Ok(Err(Error::device("cuda", reason)));
            }
        };
        let mut driver = Self { functions, version: 0, library, process: Process::current() };
        // SAFETY: the function takes flags, which must be 0.
        let started = match unsafe { (driver.functions.cuInit)(0) } {
            // SAFETY: the function takes a pointer to a number.
            0 => unsafe { (driver.functions.cuDriverGetVersion)(&mut driver.version) },
            code => code,
        };
        let reason = match started {
            0 if driver.version >= LEAST_VERSION => return Ok(Ok(driver)),
            0 => format!("the NVIDIA driver is for CUDA {}, 12.0 is needed", driver.cuda()),
            code => format!("the NVIDIA driver does not start: {}{}", driver.words(code), advice(code)),
        };
        let error = Error::device("cuda", reason);
        if started == CUresult::CUDA_ERROR_STUB_LIBRARY as u32 { Err(error) } else { Ok(Err(error)) }
    }

    /// The driver's version of CUDA, as text.
    pub(super) fn cuda(&self) -> String {
        format!("{}.{}", self.version / 1000, self.version % 1000 / 10)
    }

    /// Turns a call's code into a result.
    pub(super) fn check(&self, device: &str, code: u32) -> Result<()> {
        const OUT_OF_MEMORY: u32 = CUresult::CUDA_ERROR_OUT_OF_MEMORY as u32;
        match code {
            0 => Ok(()),
            OUT_OF_MEMORY => Err(Error::OutOfMemory { device: device.into(), reason: self.words(code) }),
            _ => Err(Error::device(device, self.words(code))),
        }
    }

    /// Calls a function that returns a number or a handle through a pointer.
    pub(super) fn ask<T: bytemuck::Zeroable>(
        &self,
        device: &str,
        ask: impl FnOnce(&Functions, *mut T) -> u32,
    ) -> Result<T> {
        let mut answer = T::zeroed();
        self.check(device, ask(&self.functions, &mut answer)).map(|()| answer)
    }

    /// The driver's own text for a code, or the number of a code that it does not know.
    fn words(&self, code: u32) -> String {
        type Words = unsafe extern "C" fn(u32, *mut *const c_char) -> u32;
        let ask = |function| {
            let mut words = std::ptr::null();
            // SAFETY: cuda.h declares both functions like this, except that the enum is a number here; the text is a
            // constant of the library.
            unsafe {
                let known = self.library.get::<Words>(function).ok()?(code, &mut words) == 0 && !words.is_null();
                known.then(|| CStr::from_ptr(words).to_string_lossy().into_owned())
            }
        };
        match (ask("cuGetErrorName"), ask("cuGetErrorString")) {
            (Some(name), Some(text)) => format!("{name} (code {code}): {text}"),
            _ => format!("CUDA error {code}"),
        }
    }
}

/// The error for a library that was not loaded, from the linker's message. An absent library is no device, not a
/// device's error.
fn not_loaded(name: &str, words: &str) -> Error {
    // If a library that the driver needs is missing, the linker names that one instead.
    if cfg!(windows) || words.contains(&format!("{name}: ")) && words.contains("No such file") {
        return Error::no_device("cuda", format!("no NVIDIA driver: {words}"));
    }
    Error::device("cuda", format!("the NVIDIA driver's library cannot be loaded: {words}"))
}

/// Advice about a driver that does not start.
fn advice(code: u32) -> String {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(visible) if code == CUresult::CUDA_ERROR_NO_DEVICE as u32 => {
            format!("; CUDA_VISIBLE_DEVICES is {visible:?} and hides all others: unset it")
        }
        _ => " (see docs/gpu-troubleshooting.md)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_library_is_tried() {
        let found = |libraries: &[&str]| {
            let libraries: Vec<String> = libraries.iter().map(|&library| library.into()).collect();
            Driver::find(&libraries).err().expect("no driver").to_string()
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let nowhere = "/nowhere/libcuda.so.1";
        assert!(found(&[nowhere, "/nowhere"]).starts_with(&format!("device cuda: no NVIDIA driver: {nowhere}: ")));
        let useless = found(&[nowhere, file, nowhere]);
        assert!(useless.contains("cannot be loaded") && useless.contains(file), "{useless}");
        if cfg!(target_os = "linux") {
            // The linker loads any library.
            let libc = found(&[nowhere, file, "libc.so.6"]);
            assert!(libc.contains("(libc.so.6) has no function cuInit"), "{libc}");
        }
        assert_eq!(libraries()[0], if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" });
    }

    #[test]
    fn a_driver_that_is_not_there_is_no_fault() {
        let absent = "libcuda.so.1: cannot open shared object file: No such file or directory";
        assert!(matches!(not_loaded("libcuda.so.1", absent), Error::NoDevice { .. }));
        for words in [
            "libnvidia-x.so.9: cannot open shared object file: No such file or directory",
            "libcuda.so.1: wrong ELF class: ELFCLASS32",
            "/usr/lib64/libcuda.so.1: file too short",
        ] {
            assert!(matches!(not_loaded("libcuda.so.1", words), Error::Device { .. }), "{words}");
        }
    }
}
