//! NVIDIA's driver, or its stand-in.

use crossalign::backend::Cuda;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether NVIDIA's own driver is here: then no variable hides it, and the stand-in only comes before it.
pub fn has_driver() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| Cuda::count().is_ok())
}

/// Where there is no driver, builds the stand-in and loads it, for the backend to find by its name.
pub fn load_driver() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        if !has_driver() {
            // SAFETY: our own library, which only defines functions; it stays loaded.
            std::mem::forget(unsafe { libloading::Library::new(stand_in().join("libcuda.so.1")) }.unwrap());
        }
    });
}

/// The folder of the stand-in, built where it is not.
pub fn stand_in() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simt");
    let status = Command::new("tests/simt/build").arg(&folder).status().unwrap();
    assert!(status.success(), "tests/simt/build: {status}");
    folder
}
