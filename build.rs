//! Tells the tests whether the shared reference data lie beside the checkout.

use std::path::Path;

fn main() {
    println!("cargo::rustc-check-cfg=cfg(shared_reference)");
    println!("cargo::rerun-if-changed=build.rs");
    let shared = Path::new("../shared/reference/reference.json");
    println!("cargo::rerun-if-changed={}", shared.display());
    if shared.exists() {
        println!("cargo::rustc-cfg=shared_reference");
    }
}
