//! Failing Vulkan drivers.

use super::{assert_right, build, classify as classify_with, crossalign, data, text, told};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Folder of the failing loader.
pub(super) fn driver() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("vulkan", &["vulkan"]))
}

fn classify(device: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    classify_with(driver(), device, more, environment)
}

#[machine::has(gxx, vulkan)]
#[test]
fn every_call_may_fail() {
    // Out of device memory; a device that is lost from then on; a feature that is missing.
    let ways = ["-2", "-4:stick", "-8"];
    let calls = super::every_call_may_fail(|environment| classify("wgpu:0", &[], environment), &ways);
    assert!(calls.len() > 20 && calls["vkQueueSubmit"] > 2, "{calls:?}");
}

#[machine::has(gxx, vulkan)]
#[test]
fn a_lost_device_tells_its_cause() {
    let healthy = classify("wgpu:0", &[], &[]);
    // While the program waits; as the device is dropped; where wgpu takes for granted that nothing fails.
    for (fault, cause) in [
        ("vkWaitSemaphores:3:-4:stick", "device lost: "),
        ("vkWaitSemaphores:2:-2", "device lost: Out of memory"),
        ("vkGetSemaphoreCounterValue:2:-4:stick", "device lost: "),
        ("vkEndCommandBuffer:4:-4:stick", "device lost: "),
        ("vkBeginCommandBuffer:9:-2:stick", "device wgpu:0: "),
        ("vkCreateDevice:1:-8", "feature is not available"),
        ("vkQueueSubmit:4:-4:stick", "device lost: "),
    ] {
        let output = classify("wgpu:0", &[], &[("FAULTS", fault)]);
        assert_eq!(output.status.code(), Some(1), "{fault}");
        assert_right(&output, &healthy, fault);
        assert!(text(&output.stderr).contains(cause), "{fault}: {}", text(&output.stderr));
    }
    // A device that is lost for lack of memory as it is opened is opened once more.
    let again = classify("wgpu:0", &[], &[("FAULTS", "vkWaitSemaphores:1:-2")]);
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), text(&healthy.stdout)), "{:?}", told(&again));
    let never = classify("wgpu:0", &[], &[("FAULTS", "vkWaitSemaphores:1:-2:stick")]);
    assert_eq!(told(&never), ["crossalign: device wgpu:0: device lost: Out of memory"]);
    let output = classify("wgpu:0", &[], &[("FAULTS", "vkQueueWaitIdle:1:-2")]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), text(&healthy.stdout)), "a late fault");
    assert_right(&output, &healthy, "vkQueueWaitIdle");
}

#[machine::has(gxx, vulkan)]
#[test]
fn work_that_was_not_done_is_no_result() {
    let healthy = classify("wgpu:0", &[], &[("FAULTS_TRACE", "1")]);
    let submissions = text(&healthy.stderr).matches("call vkQueueSubmit\n").count();
    for submission in 1..=submissions {
        for kind in ["", ":stick"] {
            let fault = format!("vkQueueSubmit:{submission}:skip{kind}");
            let output = classify("wgpu:0", &[], &[("FAULTS", &fault)]);
            assert_right(&output, &healthy, &fault);
            if output.status.code() == Some(1) {
                assert!(text(&output.stderr).contains("returned no result"), "{fault}: {}", text(&output.stderr));
            } else {
                assert!([1, submissions].contains(&submission), "{fault}: nothing came of it");
            }
        }
    }
}

/// The last runs of wca are given memory that still holds the results, equally many, of the runs before them.
#[machine::has(gxx, vulkan)]
#[test]
fn an_older_result_is_no_result() {
    let (folder, _) = data();
    let folder = folder.path().to_str().unwrap();
    let evaluate = ["evaluate", folder, "--views", "1", "--seeds", "3", "--device", "wgpu:0", "--format", "json"];
    let run = |environment: &[(&str, &str)]| crossalign(driver(), &evaluate, environment);
    let healthy = run(&[("FAULTS_TRACE", "1")]);
    let submissions = text(&healthy.stderr).matches("call vkQueueSubmit\n").count();
    for submission in [submissions - 3, submissions] {
        let fault = format!("vkQueueSubmit:{submission}:skip");
        let output = run(&[("FAULTS", &fault)]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()), "{fault}");
        assert!(text(&output.stderr).contains("returned no result: it ended work without doing it"), "{fault}");
    }
}

#[machine::has(gxx, vulkan)]
#[test]
fn auto_takes_the_next_device_and_says_why() {
    let gpu = ("FAULTS_TYPE", "2");
    let (cpu, wgpu) = (classify("cpu", &[], &[]), classify("wgpu:0", &[], &[]));
    let healthy = classify("auto", &[], &[gpu]);
    assert_eq!((text(&healthy.stdout), told(&healthy)), (text(&wgpu.stdout), vec![]));
    for (fault, reason) in [
        ("vkCreateDevice:0:-8", "feature is not available"),
        ("vkCreateComputePipelines:0:-4:stick", "wgpu:0: "),
        ("vkWaitSemaphores:1:-4:stick", "device lost: "),
        ("vkQueueSubmit:1:skip:stick", "returned no result"),
    ] {
        let output = classify("auto", &[], &[gpu, ("FAULTS", fault)]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), text(&cpu.stdout)), "{fault}");
        let [line] = &told(&output)[..] else { panic!("{fault}: {:?}", told(&output)) };
        assert!(line.contains(reason) && line.ends_with("; running on cpu"), "{fault}: {line}");
        let asked = classify("wgpu:0", &[], &[gpu, ("FAULTS", fault)]);
        assert_eq!(asked.status.code(), Some(1), "{fault}: a device that is asked for is not left");
    }
    // Weights that do not fit, and a precision that the device does not have.
    let output = classify("auto", &[], &[gpu, ("FAULTS_MEMORY", "20000000")]);
    assert_eq!(text(&output.stdout), text(&cpu.stdout));
    assert!(matches!(&told(&output)[..], [line] if line.contains("emory")), "{:?}", told(&output));
    let int8 = ["--precision", "int8"];
    let output = classify("auto", &int8, &[gpu]);
    assert_eq!(text(&output.stdout), text(&classify("cpu", &int8, &[]).stdout));
    assert!(matches!(&told(&output)[..], [line] if line.contains("int8")), "{:?}", told(&output));
}

#[machine::has(gxx, vulkan)]
#[test]
fn a_batch_that_does_not_fit_is_halved() {
    let views = ["--views", "40"];
    let healthy = classify("wgpu:0", &views, &[]);
    let output = classify("wgpu:0", &views, &[("FAULTS_MEMORY", "36000000"), ("FAULTS_TRACE", "1")]);
    assert!(text(&output.stderr).contains("full\n"), "there was room for all");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), text(&healthy.stdout)));
    // For weights that do not fit the error says how much memory there is.
    let output = classify("wgpu:0", &[], &[("FAULTS_MEMORY", "20000000")]);
    let told = told(&output);
    assert!(output.status.code() == Some(1) && told[0].contains("bytes more of "), "{told:?}");
}

#[machine::has(gxx, vulkan)]
#[test]
fn b32_with_61_views_fits_in_512_mb() {
    let bench = ["bench", "--arch", "ViT-B-32", "--views", "61", "--device", "wgpu:0", "--precision", "f16"];
    // Only the kernel that opening a device tries out runs; all else is allocated, but not computed.
    for (memory, words) in [("512000000", "returned no result"), ("150000000", "bytes more of ")] {
        let fault = [("FAULTS", "vkQueueSubmit:2:skip:stick"), ("FAULTS_MEMORY", memory)];
        let told = told(&crossalign(driver(), &bench, &fault));
        assert!(matches!(&told[..], [line] if line.contains(words)), "{memory}: {told:?}");
    }
}

#[machine::has(gxx, vulkan)]
#[test]
fn no_driver_is_no_news() {
    let none = [("VK_ICD_FILENAMES", "/nonexistent.json"), ("VK_DRIVER_FILES", "/nonexistent.json")];
    for environment in [&none[..], &[("FAULTS", "vkCreateInstance:0:-9")]] {
        let output = classify("auto", &[], environment);
        assert_eq!((output.status.code(), told(&output)), (Some(0), vec![]), "{environment:?}");
        let asked = told(&classify("wgpu", &[], environment));
        assert!(asked[0].contains("docs/gpu-troubleshooting.md"), "{asked:?}");
    }
}

#[machine::has(gxx, vulkan)]
#[test]
fn an_adapter_is_found_by_a_part_of_its_name() {
    let devices = Command::new(env!("CARGO_BIN_EXE_crossalign")).arg("devices").output().unwrap();
    let devices = text(&devices.stdout);
    let line = devices.lines().find_map(|line| line.strip_prefix("wgpu:0")).expect("an adapter");
    let part = line.split_whitespace().next().unwrap().to_uppercase();
    let healthy = text(&classify("wgpu:0", &[], &[]).stdout);
    assert_eq!(text(&classify(&format!("wgpu:{part}"), &[], &[]).stdout), healthy);
    let named = [("WGPU_ADAPTER_NAME", part.as_str())];
    assert_eq!(text(&classify("auto", &[], &named).stdout), healthy);
    for (device, environment) in [("wgpu:no such", &[][..]), ("wgpu", &[("WGPU_ADAPTER_NAME", "no such")])] {
        let output = classify(device, &[], environment);
        assert_eq!(output.status.code(), Some(1));
        assert!(told(&output)[0].contains("no adapter has this in its name: there are "), "{:?}", told(&output));
    }
    assert_eq!(
        classify("wgpu", &[], &[("WGPU_BACKEND", "metal")]).status.code(),
        Some(1),
        "no Metal with Vulkan alone"
    );
}
