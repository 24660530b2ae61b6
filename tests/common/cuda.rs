//! NVIDIA's driver, or its stand-in.

use crossalign::backend::Cuda;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether NVIDIA's own driver is here: then `LD_LIBRARY_PATH` may put the stand-in before it, but cannot hide it.
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

/// The folder of the stand-in, which is built if it is not up to date.
pub fn stand_in() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simt");
    let status = Command::new("tests/simt/build").arg(&folder).status().unwrap();
    assert!(status.success(), "tests/simt/build: {status}");
    folder
}

/// Runs this test of the calling program in a process of its own, where the stand-in comes before any driver, so that
/// no other test's calls are counted; true in that process.
pub fn alone(test: &str) -> bool {
    const ALONE: &str = "CROSSALIGN_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    run_with(test, &[(ALONE, "")]);
    false
}

/// Runs a test of the calling program in a process of its own, where the stand-in comes before any driver, with these
/// variables.
pub fn run_with(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact"]).envs(variables.iter().copied()).env("LD_LIBRARY_PATH", stand_in());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test} with {variables:?}: {text}");
}

/// Counts of a process's calls of the stand-in, laid out as `SimtCalls` (tests/simt/driver/calls.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calls {
    pub modules: u64,
    pub launches: u64,
    pub graph_launches: u64,
    pub uploads: u64,
    pub downloads: u64,
    pub waits: u64,
    pub refused_frees: u64,
}

/// Counts of what `work` calls of the stand-in, where this process is [`alone`].
pub fn calls(work: impl FnOnce()) -> Calls {
    // SAFETY: our own library, loaded already; the function returns a pointer to counts that live as long as it.
    let count = || unsafe {
        let library = libloading::Library::new("libcuda.so.1").unwrap();
        let calls = library.get::<extern "C" fn() -> *const Calls>(b"simt_calls").unwrap()();
        *calls
    };
    let before = count();
    work();
    let after = count();
    Calls {
        modules: after.modules - before.modules,
        launches: after.launches - before.launches,
        graph_launches: after.graph_launches - before.graph_launches,
        uploads: after.uploads - before.uploads,
        downloads: after.downloads - before.downloads,
        waits: after.waits - before.waits,
        refused_frees: after.refused_frees - before.refused_frees,
    }
}
