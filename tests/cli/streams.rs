//! `-`: standard input and standard output.

use super::{Folder, check_failure, command, fails, golden, succeeds};
use std::io::Write;
use std::process::{Output, Stdio};

/// Runs with `input` on standard input.
fn run(args: &[&str], input: &[u8]) -> Output {
    let mut process =
        command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What is refused at once does not read all.
    process.stdin.take().unwrap().write_all(input).ok();
    process.wait_with_output().unwrap()
}

/// Runs with `input` on standard input and expects success; returns standard output.
#[track_caller]
fn reads(args: &[&str], input: &[u8]) -> Vec<u8> {
    let output = run(args, input);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn any_input_comes_from_standard_input() {
    let folder = Folder::new();
    let (picture, model) = (golden("pictures/landscape.png"), golden("models/transformers"));
    let prompts = folder.write("prompts.json", r#"{"cat": ["fur", "claws"], "dog": ["a wet nose"]}"#);
    let labels = folder.write("labels.txt", "dog\ncat\n");
    let boxes = folder.write("boxes.json", "[[0, 0, 20, 20], [30, 30, 20, 20]]");
    let texts = folder.write("texts.json", r#"["a cat", "a dog"]"#);
    let classifier = folder.path("classifier.safetensors");
    let common = ["--model", &model, "--prompts", &prompts];
    succeeds(&[&["compile", "-o", &classifier], &common[..]].concat());
    let classify = [&["classify", &picture, "--labels", &labels, "--boxes", &boxes], &common[..]].concat();
    let compiled = ["classify", &picture, "--model", &model, "--classifier", &classifier];
    let sheet = ["views", &picture, "--size", "16", "--boxes", &boxes, "-o", "-"];
    let embed = ["embed", "--model", &model, "--image", &picture, "--boxes", &boxes, "--texts", &texts, "-o", "-"];
    let out = folder.path("heat.png");
    let explain = [&["explain", &picture, "--class", "cat", "-o", &out], &common[..]].concat();
    for (args, inputs) in [
        (&classify[..], &[&picture, &prompts, &labels, &boxes][..]),
        (&compiled, &[&picture, &classifier]),
        (&sheet, &[&picture, &boxes]),
        (&embed, &[&picture, &boxes, &texts]),
        (&explain, &[&picture, &prompts]),
    ] {
        let expected = reads(args, b"");
        let dashed =
            |path: &str| -> Vec<&str> { args.iter().map(|&arg| if arg == path { "-" } else { arg }).collect() };
        for input in inputs {
            let found = reads(&dashed(input), &std::fs::read(input).unwrap());
            // The picture's name is printed.
            let named = String::from_utf8_lossy(&found).replacen("-\n", &format!("{picture}\n"), 1);
            let same = found == expected || named.as_bytes() == expected;
            let named = String::from_utf8_lossy(&found).replacen("-: ", &format!("{picture}: "), 1);
            assert!(same || named.as_bytes() == expected, "{args:?} with {input} from standard input");
            // Not a picture, not a list: the fault is told as that of -.
            check_failure(&run(&dashed(input), b"nonsense\xff"), args, &["crossalign: -: "]);
        }
        // All at once.
        let all: Vec<&str> = args.iter().map(|&arg| if inputs.iter().any(|i| *i == arg) { "-" } else { arg }).collect();
        let count = format!("{} times -", inputs.len());
        check_failure(&run(&all, b""), args, &["standard input", &count]);
    }
    fails(&["classify", "-", "-"], &["standard input", "2 times -"]);
}

#[test]
fn a_file_called_dash_has_a_folder_in_front() {
    let folder = Folder::new();
    std::fs::copy(golden("pictures/tiny.png"), folder.path("-")).unwrap();
    let output = command(&["views", "./-", "--size", "8", "-o", "./-.png"]).current_dir(folder.path("")).output();
    assert!(output.unwrap().status.success());
    assert_eq!(image::open(folder.path("-.png")).unwrap().width(), 8 * 12 + 4);
}

#[test]
fn results_go_to_standard_output() {
    let folder = Folder::new();
    let (picture, model) = (golden("pictures/landscape.png"), golden("models/transformers"));
    let prompts = folder.write("prompts.json", r#"{"cat": ["fur"], "dog": ["a wet nose"]}"#);
    let out = folder.path("out.safetensors");
    for args in [
        &["views", &picture, "--size", "16", "--views", "3"][..],
        &["embed", "--model", &model, "--image", &picture],
        &["compile", "--model", &model, "--prompts", &prompts, "--method", "cupl"],
    ] {
        let run = |name: &str| {
            let output = command(&[args, &["-o", name]].concat()).current_dir(folder.path("")).output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{args:?}");
            output.stdout
        };
        let stdout = run("-");
        assert!(run(&out).is_empty());
        let tensors = |bytes: &[u8]| {
            let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
            let mut all: Vec<_> = tensors.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect();
            all.sort();
            all
        };
        // Metadata have no order.
        assert_eq!(tensors(&stdout), tensors(&std::fs::read(&out).unwrap()), "{args:?}");
        assert!(!std::path::Path::new(&folder.path("-")).exists());
    }
    let explain = ["explain", &picture, "--model", &model, "--prompts", &prompts, "--class", "cat", "-o", "-"];
    fails(&explain, &["output", "standard output", "PNG"]);
}
