//! Tells the tests what this machine has, so that what it lacks is reported as ignored, not as passed.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

    // The reference data beside the checkout.
    let shared = Path::new("../shared/reference/reference.json");
    println!("cargo::rerun-if-changed={}", shared.display());
    flag("shared_reference", shared.exists());

    // The instruction sets; should the tests then run elsewhere, opening a missing level fails there.
    #[cfg(target_arch = "x86_64")]
    let (avx2, avx512) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("avx512f"));
    #[cfg(not(target_arch = "x86_64"))]
    let (avx2, avx512) = (false, false);
    flag("host_avx2", avx2);
    flag("host_avx512", avx512);
}

fn flag(name: &str, set: bool) {
    println!("cargo::rustc-check-cfg=cfg({name})");
    if set {
        println!("cargo::rustc-cfg={name}");
    }
}
