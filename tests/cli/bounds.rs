//! Numbers that would take the whole machine, and names of precisions.

use super::{Folder, check_failure, fails, golden, succeeds};

#[test]
fn threads_are_bounded() {
    let folder = Folder::new();
    let (picture, out) = (golden("pictures/tiny.png"), folder.path("v.png"));
    let most = 4 * std::thread::available_parallelism().map_or(1, usize::from);
    let views = ["views", &picture, "--size", "4", "--views", "1", "--device", "cpu", "-o", &out, "--threads"];
    succeeds(&[&views[..], &[&most.to_string()]].concat());
    let expected = format!("expected at most {most}");
    let classify = ["classify", &picture, "--views", "1", "--device", "cpu", "--threads"];
    for threads in [most + 1, 1000, 5000, usize::MAX] {
        let threads = threads.to_string();
        let words = ["threads: found ", &threads, &expected];
        fails(&[&views[..], &[&threads]].concat(), &words);
        fails(&[&classify[..], &[&threads]].concat(), &words);
    }
}

/// Of several threads a few do; where there is none, the program says so.
#[cfg(target_os = "linux")]
#[test]
fn threads_may_be_short() {
    let picture = golden("pictures/tiny.png");
    let args = ["classify", &picture, &picture, "--views", "1", "--device", "reference", "--threads", "4"];
    let expected = succeeds(&args);
    // The shell's limit is on the address space, in KiB.
    let run = |stack: u64, limit: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "ulimit -v $0 && exec \"$@\"", limit, env!("CARGO_BIN_EXE_crossalign")]).args(args);
        shell.env("RUST_MIN_STACK", stack.to_string()).output().unwrap()
    };
    let few = run(1 << 30, "4000000");
    assert_eq!(String::from_utf8_lossy(&few.stdout), expected, "{}", String::from_utf8_lossy(&few.stderr));
    check_failure(&run(1 << 30, "1000000"), &args, &["device host: no thread: "]);
}

#[test]
fn views_that_do_not_fit_in_memory_are_refused() {
    let folder = Folder::new();
    let picture = golden("pictures/tiny.png");
    let (sheet, tensors) = (folder.path("v.png"), folder.path("v.safetensors"));
    // The views with the global one, and a copy of them, or a sheet and a PNG.
    for (views, size, out, bytes) in [
        ("100000", "224", &tensors, 2 * 100_001 * 224 * 224 * 3u64),
        ("100000", "224", &sheet, 46_300_461_888),
        ("46", "4096", &tensors, 2 * 47 * 4096 * 4096 * 3),
        ("99999", "100", &sheet, 3 * 100_000 * 100 * 100 + 2 * 3 * (317 * 104 + 4) * (316 * 104 + 4)),
    ] {
        let args = ["views", &picture, "--views", views, "--size", size, "-o", out];
        let words = [&*format!("{size}×{size} pixels"), &format!("{bytes} bytes"), "4294967296"];
        fails(&args, &words);
        assert!(!std::path::Path::new(out).exists());
    }
    let boxes = folder.write("boxes.json", format!("[{}[0, 0, 1, 1]]", "[0, 0, 1, 1], ".repeat(99)));
    fails(&["views", &picture, "--boxes", &boxes, "--size", "4096", "-o", &tensors], &["101 views of 4096×4096"]);
    succeeds(&["views", &picture, "--views", "2000", "--size", "16", "-o", &sheet]);
}

#[test]
fn explanations_that_do_not_fit_in_memory_are_refused() {
    let folder = Folder::new();
    let prompts = folder.write("prompts.json", format!(r#"{{"cat": [{}"fur"]}}"#, "\"fur\",".repeat(1999)));
    let (picture, out) = (golden("pictures/tiny.png"), folder.path("x.png"));
    let args = ["explain", &picture, "--prompts", &prompts, "--class", "cat", "--views", "100000", "-o", &out];
    fails(&args, &["100000 views by 2000 descriptions", "4294967296 bytes"]);
}

#[test]
fn views_of_all_runs_are_bounded() {
    let data = Folder::new();
    std::fs::create_dir(data.path("cat")).unwrap();
    std::fs::copy(golden("pictures/tiny.png"), data.path("cat/a.png")).unwrap();
    let args = ["evaluate", &data.path(""), "--labels", "cat,dog", "--views", "50001", "--seeds", "2"];
    fails(&args, &["views: found 100002 in all 2 runs", "100000"]);
}

#[test]
fn precisions_have_other_names() {
    let (picture, model) = (golden("pictures/landscape.png"), golden("models/transformers"));
    let run = |precision: &str| {
        let args =
            ["classify", &picture, "--model", &model, "--labels", "cat,dog", "--method", "clip", "--device", "cpu"];
        succeeds(&[&args[..], &["--format", "json", "--precision", precision]].concat())
    };
    for (name, others) in
        [("f32", &["auto", "fp32", "float32"][..]), ("f16", &["fp16", "float16", "half"]), ("bf16", &["bfloat16"])]
    {
        let expected = run(name);
        for other in others {
            assert_eq!(run(other), expected, "{other}");
        }
    }
    assert_ne!(run("f32"), run("bf16"));
    for unknown in ["f64", "fp8", "F16", ""] {
        let output = super::crossalign(&["classify", &picture, "--precision", unknown]);
        assert_eq!(output.status.code(), Some(2), "{unknown}");
    }
}
