//! The program on failing GPU drivers: whatever call fails, it gives right results, or status 1 and an error with the
//! cause.
//!
//! `tests/faults/build` makes drivers whose calls fail (`rules.h`). One call of each function is tried in one way;
//! `FAULTS_CALLS=100` in the environment tries up to 100 calls of each in all ways.
#![cfg(all(feature = "cli", feature = "mini"))]

#[path = "../common/mod.rs"]
mod common;

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(all(feature = "cuda", unix))]
mod fork;
mod threads;
#[cfg(feature = "wgpu")]
mod vulkan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The pictures that [`classify`] takes.
const PICTURES: [&str; 2] = ["models/mini/example.png", "tests/pictures/base.png"];

/// A folder of its own with what `tests/faults/build` makes.
fn build(name: &str, args: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("faults").join(name);
    let output = Command::new("tests/faults/build").arg(&folder).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// Runs the program, with the libraries of a folder before the system's.
fn crossalign(libraries: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossalign"));
    command.args(args).env("LD_LIBRARY_PATH", libraries).env("CROSSALIGN_CACHE", "").env("RUST_BACKTRACE", "0");
    command.envs(environment.iter().copied()).output().unwrap()
}

fn classify(libraries: &Path, device: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    let classify = [&["classify"][..], &PICTURES, &["--labels", "pig,sheep", "--format", "json", "--device", device]];
    let views = if more.contains(&"--views") { &[][..] } else { &["--views", "1"] };
    crossalign(libraries, &[&classify.concat(), views, more].concat(), environment)
}

/// Pictures in folders of their classes.
fn data() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |i: u8| {
        let class = folder.path().join(if i < 2 { "pig" } else { "sheep" });
        std::fs::create_dir_all(&class).unwrap();
        let path = class.join(format!("{i}.png")).to_str().unwrap().to_string();
        image::RgbImage::from_pixel(8, 8, image::Rgb([40 * i, 77, 5])).save(&path).unwrap();
        path
    };
    let pictures = (0..4).map(write).collect();
    (folder, pictures)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The program's own lines on stderr, without the drivers'.
fn told(output: &Output) -> Vec<String> {
    text(&output.stderr).lines().filter(|line| line.starts_with("crossalign: ")).map(str::to_string).collect()
}

/// Right results, or an error with its cause: no panic, no line that a healthy device does not give.
#[track_caller]
fn assert_right(output: &Output, healthy: &Output, fault: &str) {
    let (found, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(!stderr.contains("panicked"), "{fault}: {stderr}");
    match output.status.code() {
        Some(0) => assert_eq!(found, text(&healthy.stdout), "{fault}"),
        Some(1) => {
            let lines = text(&healthy.stdout);
            assert!(found.lines().all(|line| lines.lines().any(|right| right == line)), "{fault}: {found}");
            let names_device = |line: &String| {
                ["wgpu", "cuda", "cpu", "host"].iter().any(|device| line.contains(&format!("device {device}")))
            };
            assert!(told(output).iter().any(names_device), "{fault}: {stderr}");
        }
        status => panic!("{fault}: status {status:?}: {stderr}"),
    }
}

/// Lets each function that the program calls fail, in these ways. Returns how often each is called.
fn every_call_may_fail(run: impl Fn(&[(&str, &str)]) -> Output, ways: &[&str]) -> BTreeMap<String, usize> {
    let healthy = run(&[("FAULTS_TRACE", "1")]);
    assert!(healthy.status.success(), "{}", text(&healthy.stderr));
    let mut calls = BTreeMap::<String, usize>::new();
    for name in text(&healthy.stderr).lines().filter_map(|line| line.strip_prefix("call ")) {
        *calls.entry(name.to_string()).or_default() += 1;
    }
    let most = std::env::var("FAULTS_CALLS").map_or(1, |most| most.parse().expect("a number"));
    for (i, (name, count)) in calls.iter().enumerate() {
        for j in 0..most.min(*count) {
            // Spread over all its calls, from another one on for each function.
            let call = 1 + (j * count / most.min(*count) + i * 7) % count;
            for way in ways.iter().cycle().skip(i + j).take(if most > 1 { ways.len() } else { 1 }) {
                let fault = format!("{name}:{call}:{way}");
                assert_right(&run(&[("FAULTS", &fault)]), &healthy, &fault);
            }
        }
    }
    calls
}
