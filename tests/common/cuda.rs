//! NVIDIA's driver, or its stand-in.

use crossalign::backend::Cuda;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where there is no driver, builds the stand-in and loads it, for the backend to find by its name.
pub fn load_driver() {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        if Cuda::count().is_err() {
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
