//! The executor that runs the CUDA kernels on the CPU finds what it must: each of its checks has kernels that break it.

use std::path::Path;
use std::process::Command;

#[machine::has(gxx)]
#[test]
fn every_check_finds_its_bug() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simt-self-test");
    let output = Command::new("tests/simt/self_test").arg(folder).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}
