//! `#[machine::has(gxx, vulkan)]` above a `#[test]`: where the machine lacks one of these, the test is reported as ignored, with
//! the reason, and not as passed. It is asked while the tests are compiled: after installing something, touch the test.

use proc_macro::{TokenStream, TokenTree};
use std::path::Path;
use std::process::Command;

/// Ignores the test unless the machine has all that is listed.
///
/// | name | what |
/// | --- | --- |
/// | `avx2`, `avx512`, `avx512_vnni`, `avx512_bf16` | an instruction set |
/// | `chromium` | a browser, whose engine runs the WGSL kernels |
/// | `huggingface_hub` | Python with this package |
/// | `gxx` | g++, which builds the stand-in for NVIDIA's driver |
/// | `python` | Python 3.10 or newer, with venv |
/// | `shared_reference` | the reference data beside the checkout |
/// | `vulkan` | a Vulkan driver, where the loader looks for them; the test then fails unless it gives an adapter |
/// | `wasm32` | the compiler's target wasm32-unknown-unknown, of a browser's programs |
#[proc_macro_attribute]
pub fn has(names: TokenStream, test: TokenStream) -> TokenStream {
    // `#[test]` looks for `#[ignore]` when it is expanded, and outer attributes are expanded first.
    if !test.to_string().replace(' ', "").contains("#[test]") {
        return r##"compile_error!("#[machine::has] goes above #[test]");"##.parse().expect("a macro call");
    }
    let names = names.into_iter().filter_map(|token| match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    });
    let lacking: Vec<String> = names.filter(|name| !is_there(name)).collect();
    if lacking.is_empty() {
        return test;
    }
    let ignore = format!("#[ignore = {:?}]", format!("no {}", lacking.join(", no ")));
    let mut ignored: TokenStream = ignore.parse().expect("an attribute");
    ignored.extend(test);
    ignored
}

fn is_there(name: &str) -> bool {
    match name {
        #[cfg(target_arch = "x86_64")]
        "avx2" => is_x86_feature_detected!("avx2"),
        #[cfg(target_arch = "x86_64")]
        "avx512" => is_x86_feature_detected!("avx512f"),
        #[cfg(target_arch = "x86_64")]
        "avx512_vnni" => is_x86_feature_detected!("avx512vnni"),
        #[cfg(target_arch = "x86_64")]
        "avx512_bf16" => is_x86_feature_detected!("avx512bf16"),
        #[cfg(not(target_arch = "x86_64"))]
        "avx2" | "avx512" | "avx512_vnni" | "avx512_bf16" => false,
        "chromium" => Path::new("/usr/bin/chromium").exists(),
        "huggingface_hub" => Command::new("python3")
            .args(["-c", "import huggingface_hub"])
            .output()
            .is_ok_and(|output| output.status.success()),
        "gxx" => Path::new("/usr/bin/g++").exists(),
        "python" => {
            let probe = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";
            Command::new("python3").args(["-c", probe]).status().is_ok_and(|status| status.success())
        }
        "shared_reference" => {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/reference.json").exists()
        }
        "vulkan" => ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
            .iter()
            .any(|folder| std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())),
        "wasm32" => {
            let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
            let folder =
                Command::new(rustc).args(["--print=target-libdir", "--target=wasm32-unknown-unknown"]).output();
            folder.is_ok_and(|found| Path::new(String::from_utf8_lossy(&found.stdout).trim()).exists())
        }
        _ => panic!("#[machine::has({name})]: no such name"),
    }
}
