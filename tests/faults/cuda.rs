//! Failing CUDA drivers: calls that fail, in front of the stand-in of tests/simt.

use super::common::cuda::{has_driver, stand_in};
use super::{assert_right, build, classify as classify_with, crossalign, data, text, told};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The folder of a failing driver that lacks these functions.
fn without(functions: &[&str]) -> PathBuf {
    let real = stand_in().join("libcuda.so.1");
    let name = format!("cuda{}", functions.concat());
    build(&name, &[&["cuda", real.to_str().unwrap()], functions].concat())
}

fn driver() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| without(&[]))
}

fn classify(device: &str, more: &[&str], environment: &[(&str, &str)]) -> Output {
    classify_with(driver(), device, more, environment)
}

/// Asserts status 1, and one line of the program's with all of these words.
#[track_caller]
fn assert_told(output: &Output, words: &[&str], what: &str) {
    let told = told(output);
    assert_eq!(output.status.code(), Some(1), "{what}: {}", text(&output.stderr));
    assert!(matches!(&told[..], [line] if words.iter().all(|word| line.contains(word))), "{what}: {told:?}");
}

/// Asserts the CPU's results, and one line of the program's that says that it runs there, with all of these words.
#[track_caller]
fn assert_on_the_cpu(output: &Output, words: &[&str], what: &str) {
    static CPU: OnceLock<String> = OnceLock::new();
    let cpu = CPU.get_or_init(|| text(&classify("cpu", &[], &[]).stdout));
    let told = told(output);
    assert_eq!((output.status.code(), &text(&output.stdout)), (Some(0), cpu), "{what}: {told:?}");
    let words = [words, &["; running on cpu"]].concat();
    assert!(matches!(&told[..], [line] if words.iter().all(|word| line.contains(word))), "{what}: {told:?}");
}

#[machine::has(gxx)]
#[test]
fn every_call_may_fail() {
    // Out of memory; a fault of a launch; a context that is lost; codes that are newer than this program.
    let ways = ["2", "719", "700:poison", "226", "917:stick"];
    let calls = super::every_call_may_fail(|environment| classify("cuda", &[], environment), &ways);
    assert!(calls.len() > 30 && calls["cuLaunchKernel"] > 100, "{calls:?}");
}

#[machine::has(gxx)]
#[test]
fn codes_are_named_or_told_by_number() {
    for (fault, words) in [
        ("cuMemcpyDtoHAsync_v2:2:226", "CUDA error 226"),
        ("cuStreamSynchronize:0:4294967295,cuEventSynchronize:0:100000", "CUDA error 100000"),
        ("cuInit:0:913", "the NVIDIA driver does not start: CUDA error 913"),
        ("cuEventSynchronize:1:719", "device cuda:0: CUDA_ERROR_LAUNCH_FAILED (code 719): unspecified launch failure"),
        // The call that would name the code fails, too.
        ("cuGetErrorName:0:719,cuMemAllocAsync:9:700", "CUDA error 700"),
    ] {
        assert_told(&classify("cuda", &[], &[("FAULTS", fault)]), &[words], fault);
    }
}

#[machine::has(gxx)]
#[test]
fn auto_takes_the_next_device_and_says_why() {
    // The driver cannot compile, computes wrong, does not start, or has too little memory.
    for (fault, words) in [
        ("cuModuleLoadData:0:221", "CUDA_ERROR_JIT_COMPILER_NOT_FOUND (code 221)"),
        ("cuModuleLoadData:0:222", "code 222"),
        ("cuModuleLoadData:0:209", "code 209"),
        ("cuLaunchKernel:1:skip", "computes wrong"),
        (
            "cuInit:0:999",
            "does not start: CUDA_ERROR_UNKNOWN (code 999): unknown error (see docs/gpu-troubleshooting.md)",
        ),
        ("cuInit:0:802", "code 802"),
        ("cuInit:0:804", "code 804"),
        ("cuMemAllocAsync:100:2:stick", "bytes more do not fit, "),
    ] {
        assert_on_the_cpu(&classify("auto", &[], &[("FAULTS", fault)]), &[words], fault);
        assert_told(&classify("cuda", &[], &[("FAULTS", fault)]), &[words], fault);
    }
    for (variable, words) in [
        (
            ("SIMT_CAPABILITY", "75"),
            "SIMT executor at 0000:01:00.0 has compute capability 7.5, 8.0 is needed: try it as wgpu",
        ),
        (("SIMT_DRIVER_VERSION", "11080"), "the NVIDIA driver is for CUDA 11.8, 12.0 is needed"),
        (("CUDA_VISIBLE_DEVICES", ""), "CUDA_VISIBLE_DEVICES is \"\" and hides all others: unset it"),
        (("SIMT_MEMORY", "4000000"), " of 4000000 are free"),
    ] {
        assert_on_the_cpu(&classify("auto", &[], &[variable]), &[words], words);
        assert_told(&classify("cuda", &[], &[variable]), &[words], words);
        let devices = text(&crossalign(driver(), &["devices"], &[variable]).stdout);
        assert!(variable.0 == "SIMT_MEMORY" || devices.contains(words), "{devices}");
    }
    let int8 = classify("auto", &["--precision", "int8"], &[]);
    assert_eq!(text(&int8.stdout), text(&classify("cpu", &["--precision", "int8"], &[]).stdout));
    assert!(matches!(&told(&int8)[..], [line] if line.contains("int8") && line.ends_with("; running on cpu")));
}

#[machine::has(gxx)]
#[test]
fn a_missing_function_is_named() {
    for function in ["cuInit", "cuMemAllocAsync", "cuLaunchKernel", "cuGraphLaunch"] {
        let driver = without(&[function]);
        let words = format!("has no function {function}: one for CUDA 12.0 or later is needed");
        assert_told(&classify_with(&driver, "cuda", &[], &[]), &[&words], function);
        assert_on_the_cpu(&classify_with(&driver, "auto", &[], &[]), &[&words], function);
    }
    // Without this function, only errors lose their names.
    let driver = without(&["cuGetErrorName"]);
    assert_told(&classify_with(&driver, "cuda", &[], &[("FAULTS", "cuMemsetD8Async:1:700")]), &["CUDA error 700"], "");
}

#[machine::has(gxx)]
#[test]
fn what_is_no_driver_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let with = |device| classify_with(folder.path(), device, &[], &[]);
    // A toolkit's libcuda.so is not a driver.
    std::fs::copy(driver().join("libcuda.so.1"), folder.path().join("libcuda.so")).unwrap();
    if !has_driver() {
        assert_told(&with("cuda"), &["no NVIDIA driver: libcuda.so.1: cannot open shared object file"], "no driver");
        assert_eq!(told(&with("auto")), [""; 0], "no driver is no news");
        // Nor is a library that reports to be a stub.
        let stub = classify("cuda", &[], &[("FAULTS", "cuInit:0:34")]);
        assert_told(&stub, &["CUDA_ERROR_STUB_LIBRARY (code 34)"], "a stub");
        // A file that is no library, one of another architecture, and one whose dependency is missing.
        let library = folder.path().join("libcuda.so.1");
        let elf = std::fs::read(driver().join("libcuda.so.1")).unwrap();
        let mut narrow = elf.clone();
        narrow[4] = 1;
        let build = Command::new("sh").current_dir(folder.path()).args(["-c", LACKS_ANOTHER]).output().unwrap();
        assert!(build.status.success(), "{}", text(&build.stderr));
        let lacking = std::fs::read(&library).unwrap();
        for (bytes, words) in [
            (&b"no library"[..], "file too short"),
            (&narrow, "wrong ELF class: ELFCLASS32"),
            (&lacking, "libneeded.so: cannot open shared object file"),
        ] {
            std::fs::write(&library, bytes).unwrap();
            let words = ["the NVIDIA driver's library cannot be loaded: ", words];
            assert_told(&with("cuda"), &words, words[1]);
            assert_on_the_cpu(&with("auto"), &words, words[1]);
        }
    }
}

const LACKS_ANOTHER: &str = "echo 'int a;' > a.c && g++ -shared -fPIC a.c -o libneeded.so \
    && g++ -shared -fPIC a.c -L. -Wl,--no-as-needed -lneeded -o libcuda.so.1 && rm libneeded.so";

/// A device of little memory, so that pictures come in several batches.
const SMALL: (&str, &str) = ("SIMT_MEMORY", "12000000");

/// A rule by which the context is lost at one of the last launches.
fn late_loss(healthy: &Output) -> String {
    let launches = text(&healthy.stderr).matches("call cuLaunchKernel\n").count();
    assert!(healthy.status.success() && launches > 100, "{}", text(&healthy.stderr));
    format!("cuLaunchKernel:{}:700:poison", launches - 3)
}

#[machine::has(gxx)]
#[test]
fn a_lost_context_ends_the_run_and_counts_what_is_left() {
    let (folder, pictures) = data();
    let all: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let options = ["--labels", "pig,sheep", "--views", "2", "--device", "cuda", "--format"];
    let run = |format: &str, more: &[(&str, &str)]| {
        crossalign(driver(), &[&["classify"], &all[..], &options, &[format]].concat(), &[&[SMALL], more].concat())
    };
    let healthy = run("json", &[("FAULTS_TRACE", "1")]);
    let fault = late_loss(&healthy);
    let output = run("json", &[("FAULTS", &fault)]);
    assert_right(&output, &healthy, &fault);
    let done = text(&output.stdout).lines().count();
    assert!((1..4).contains(&done), "{done} pictures are done");
    let counted = format!("{} of 4 pictures have no result", 4 - done);
    let left = serde_json::to_string(&pictures[done..]).unwrap();
    let words = ["CUDA_ERROR_ILLEGAL_ADDRESS (code 700)", &counted, &left];
    assert_told(&output, &words, &fault);
    assert_told(&run("text", &[("FAULTS", &fault)]), &[&format!("{counted}: run again")], &fault);
    let embed = ["embed", "--image", &pictures[0], "--image", &pictures[1], "--device", "cuda", "-o"];
    let rows = folder.path().join("rows.safetensors");
    let output = crossalign(
        driver(),
        &[&embed[..], &[rows.to_str().unwrap()]].concat(),
        &[("FAULTS", "cuLaunchKernel:9:719:poison")],
    );
    assert_told(&output, &["2 of 2 pictures have no result: nothing is written"], "embed");
    assert!(!rows.exists());
}

#[machine::has(gxx)]
#[test]
fn an_evaluation_that_a_fault_ends_goes_on() {
    let (folder, _) = data();
    let (data, journal) = (folder.path().to_str().unwrap(), folder.path().join("journal"));
    let prompts = folder.path().join("prompts.json");
    std::fs::write(&prompts, r#"{"pig": ["pink"], "sheep": ["wool"]}"#).unwrap();
    let prompts = prompts.to_str().unwrap();
    let options = [
        "evaluate",
        data,
        "--prompts",
        prompts,
        "--views",
        "2",
        "--seeds",
        "1",
        "--device",
        "cuda",
        "--format",
        "json",
    ];
    let run = |more: &[&str], environment: &[(&str, &str)]| {
        crossalign(driver(), &[&options[..], more].concat(), &[&[SMALL], environment].concat())
    };
    let healthy = run(&[], &[("FAULTS_TRACE", "1")]);
    let fault = late_loss(&healthy);
    let resume = ["--resume", journal.to_str().unwrap()];
    for (more, advice) in [(&[][..], "with --resume the next call goes on"), (&resume, "the same call goes on from ")] {
        let output = run(more, &[("FAULTS", &fault)]);
        assert_told(
            &output,
            &["device cuda:0: CUDA_ERROR_ILLEGAL_ADDRESS", " of 4 pictures have no result [", advice],
            &fault,
        );
        assert_eq!(text(&output.stdout), "", "figures of some pictures");
    }
    let figures = |output: Output| {
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (found["methods"].clone(), found["pictures"].clone(), found["resumed"].as_u64().unwrap())
    };
    let (methods, pictures, _) = figures(healthy);
    let again = figures(run(&resume, &[]));
    assert!(again.2 > 0 && (again.0, again.1) == (methods, pictures), "what was done is kept");
}

#[machine::has(gxx)]
#[test]
fn downloads_that_do_not_come_are_no_results() {
    // The downloads of a text's and of a picture's results.
    for download in [2, 3] {
        for way in ["nan", "skip", "nan:stick"] {
            let fault = format!("cuMemcpyDtoHAsync_v2:{download}:{way}");
            assert_told(&classify("cuda", &[], &[("FAULTS", &fault)]), &["device cuda:0: returned no result"], &fault);
        }
    }
    // The download of the last batch, to memory that had the scores of an earlier one.
    let (_folder, pictures) = data();
    let all: Vec<&str> = pictures.iter().chain(&pictures).map(String::as_str).collect();
    let options = ["--labels", "pig,sheep", "--method", "clip", "--device", "cuda"];
    let run = |more: &[(&str, &str)]| {
        let environment = [&[("SIMT_MEMORY", "9000000")], more].concat();
        crossalign(driver(), &[&["classify"], &all[..], &options].concat(), &environment)
    };
    let downloads = text(&run(&[("FAULTS_TRACE", "1")]).stderr).matches("call cuMemcpyDtoHAsync_v2\n").count();
    let fault = format!("cuMemcpyDtoHAsync_v2:{downloads}:skip");
    assert!(downloads > 4);
    assert_told(
        &run(&[("FAULTS", &fault)]),
        &["device cuda:0: returned no result: scores that are not finite"],
        &fault,
    );
}

#[machine::has(gxx)]
#[test]
fn memory_that_passes_is_taken_again() {
    let views = ["--views", "20"];
    let healthy = classify("cuda", &views, &[("FAULTS_TRACE", "1")]);
    let count = text(&healthy.stderr).matches("call cuMemAllocAsync\n").count();
    // Allocations for the pictures' batch fail once: cached memory is given back, and the next try succeeds.
    for nth in (count - 20..=count).step_by(5) {
        let fault = format!("cuMemAllocAsync:{nth}:2");
        let output = classify("cuda", &views, &[("FAULTS", &fault), ("FAULTS_TRACE", "1")]);
        assert_eq!((output.status.code(), &output.stdout), (Some(0), &healthy.stdout), "{fault}");
        assert!(text(&output.stderr).contains("call cuMemPoolTrimTo\n"), "{fault}");
    }
}

#[machine::has(gxx)]
#[test]
fn b32_with_61_views_fits_in_512_mb() {
    let b32 = |memory: &str, views: &str| {
        let bench = ["bench", "--arch", "ViT-B-32", "--views", views, "--device", "cuda", "--precision", "f16"];
        // Only the kernel that opening a device tries out runs; the others would take hours.
        crossalign(driver(), &bench, &[("SIMT_LAUNCHES", "1"), ("SIMT_MEMORY", memory)])
    };
    // All is allocated, up to the result, which is missing because nothing was computed.
    assert_told(&b32("512000000", "61"), &["returned no result"], "512 MB");
    assert_told(&b32("150000000", "61"), &["bytes more do not fit", " of 150000000 are free"], "less than the weights");
}

#[machine::has(gxx)]
#[test]
fn a_device_is_found_by_its_uuid() {
    let two = [("SIMT_DEVICES", "2"), ("FAULTS_TRACE", "1")];
    let healthy = text(&classify("cuda", &[], &[]).stdout);
    for uuid in ["GPU-53494d54-2031", "GPU-53494D54-2031-0000-0000-000000000000", "MIG-53494d54-2031"] {
        let output = classify(&format!("cuda:{uuid}"), &[], &two);
        assert_eq!(text(&output.stdout), healthy, "{uuid}: {:?}", told(&output));
    }
    let there = "there are GPU-53494d54-2030-0000-0000-000000000000, GPU-53494d54-2031-";
    for (uuid, found) in [("GPU-53494d54", "2 devices"), ("GPU-ff", "0 devices")] {
        let output = classify(&format!("cuda:{uuid}"), &[], &two);
        assert_told(&output, &[&format!("device cuda:{uuid}: {found} have such a UUID"), there], uuid);
    }
    assert_told(&classify("cuda:first", &[], &two), &["a number or a UUID"], "neither");
    let devices = text(&crossalign(driver(), &["devices"], &two).stdout);
    let line = devices.lines().find(|line| line.starts_with("cuda:1 ")).unwrap();
    for words in [
        "SIMT executor at 0000:02:00.0, GPU-53494d54-2031-0000-0000-000000000000, compute capability 8.0",
        "1024 of 1024 MiB free",
        "driver for CUDA 12.8",
        "f32, f16 and bf16",
    ] {
        assert!(line.contains(words), "{line}");
    }
}
