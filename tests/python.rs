//! The Python package, whose tests are `python/tests`.

use std::process::Command;

#[machine::has(python)]
#[test]
fn the_package() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/python");
    let status = Command::new(script).status().unwrap();
    assert!(status.success(), "{script}: {status}");
}
