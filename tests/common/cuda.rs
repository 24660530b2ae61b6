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

/// Runs a test of this file in a process of its own, on the stand-in with these variables.
#[allow(dead_code, reason = "not every test asks for variables")]
pub fn run_with(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env("LD_LIBRARY_PATH", stand_in()).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{test} with {variables:?}: {said}");
}

/// What the stand-in was asked for since this was called last: a letter each, `U`pload, `D`ownload, `L`aunch, `G`raph or
/// `W`ait, and the bytes of a copy. None before the first time.
#[allow(dead_code, reason = "not every test counts")]
pub fn calls() -> Vec<(char, u64)> {
    type Calls = unsafe extern "C" fn(*mut u8, *mut u64, usize) -> usize;
    const ROOM: usize = 1 << 16;
    let (mut letters, mut bytes) = (vec![0; ROOM], vec![0; ROOM]);
    // SAFETY: our own library, loaded already, and the function as tests/simt/driver/calls.cpp has it: it writes up to
    // `ROOM` of either.
    let count = unsafe {
        let library = libloading::Library::new(stand_in().join("libcuda.so.1")).unwrap();
        let calls = library.get::<Calls>(b"simt_calls").unwrap();
        calls(letters.as_mut_ptr(), bytes.as_mut_ptr(), ROOM)
    };
    letters.into_iter().map(char::from).zip(bytes).take(count).collect()
}

/// The folder of the stand-in, built where it is not.
pub fn stand_in() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simt");
    let status = Command::new("tests/simt/build").arg(&folder).status().unwrap();
    assert!(status.success(), "tests/simt/build: {status}");
    folder
}
