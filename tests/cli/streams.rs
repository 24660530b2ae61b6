//! `-`: standard input and standard output; many pictures at once.

use super::common::{floats, tensor};
use super::{Folder, check_failure, command, crossalign, fails, golden, succeeds};
use safetensors::SafeTensors;
use std::io::Write;
use std::path::Path;
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

/// Rows in order of the pictures, whose names are in the metadata; those that cannot be read are left out.
#[test]
fn embeddings_of_several_pictures_are_one_file() {
    let (folder, pictures) = (Folder::new(), Folder::new());
    let model = golden("models/transformers");
    let names = ["landscape", "portrait", "tiny"].map(|name| golden(&format!("pictures/{name}.png")));
    let boxes = folder.write("boxes.json", "[[0, 0, 2, 2], [1, 2, 2, 3]]");
    let out = folder.path("out.safetensors");
    let common = ["embed", "--model", &model, "--boxes", &boxes, "-o", &out];
    let images = |files: &[&str]| -> Vec<String> {
        let given = files.iter().flat_map(|file| ["--image", file]);
        common.iter().copied().chain(given).map(String::from).collect()
    };
    let embed = |files: &[&str]| {
        let args = images(files);
        let output = crossalign(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let rows = if Path::new(&out).exists() { floats(Path::new(&out), "image_embeds") } else { Vec::new() };
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), rows)
    };
    let listed = || {
        let bytes = std::fs::read(&out).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let names = header.metadata().as_ref().map(|metadata| serde_json::from_str(&metadata["images"]).unwrap());
        names.unwrap_or_else(Vec::<String>::new)
    };
    let alone = names.each_ref().map(|name| embed(&[name]).2);
    assert!(listed().is_empty(), "one picture's file is as ever");
    assert_eq!(tensor(Path::new(&out), "image_embeds").0[0], 3);

    let (code, stderr, rows) = embed(&[&names[0], &names[2], &names[1], &names[0]]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!(rows, [&alone[0][..], &alone[2], &alone[1], &alone[0]].concat());
    assert_eq!(listed(), [&names[0], &names[2], &names[1], &names[0]].map(|name| name.clone()));

    // A folder, with what is no picture, a damaged one, and one in a folder of its own.
    let good = std::fs::read(&names[0]).unwrap();
    pictures.write("notes.txt", "hello");
    pictures.write("a.png", &good);
    let cut = pictures.write("b.png", &good[..good.len() / 2]);
    std::fs::create_dir(pictures.path("sub")).unwrap();
    pictures.write("sub/c.png", &good);
    let root = pictures.path("");
    let (code, stderr, rows) = embed(&[&root, &names[1]]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 2), "{stderr}");
    assert!(stderr.contains(&cut) && stderr.contains("1 file in"), "{stderr}");
    assert_eq!(rows, [&alone[0][..], &alone[1]].concat());
    assert_eq!(listed(), [pictures.path("a.png"), names[1].clone()]);
    std::fs::remove_file(&cut).unwrap();
    succeeds_but_for_strays(&[&common[..], &["--image", &root, "--recursive"]].concat());
    assert_eq!(listed().len(), 2);

    // Nothing is written without a picture, or over one.
    std::fs::remove_file(&out).unwrap();
    let (code, stderr, _) = embed(&[&pictures.write("sub/d.png", "nonsense"), "nowhere.png"]);
    assert_eq!((code, stderr.lines().count()), (Some(1), 2), "{stderr}");
    assert!(!Path::new(&out).exists());
    let image = pictures.path("a.png");
    let linked = folder.path("a.safetensors");
    std::fs::hard_link(&image, &linked).unwrap();
    fails(&["embed", "--model", &model, "--image", &root, "-o", &linked], &["a file that this command reads"]);
}

#[track_caller]
fn succeeds_but_for_strays(args: &[&str]) {
    let output = crossalign(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.lines().all(|line| line.contains("not a picture")), "{stderr}");
}

/// A reader that goes away ends the command quietly, and no thread keeps it.
#[test]
fn a_closed_pipe_ends_the_stream() {
    let (folder, picture) = (Folder::new(), golden("pictures/landscape.png"));
    for i in 0..200 {
        std::fs::copy(&picture, folder.path(&format!("{i}.png"))).unwrap();
    }
    let (model, root) = (golden("models/transformers"), folder.path(""));
    let args = ["classify", &root, "--model", &model, "--labels", "cat,dog", "--method", "clip", "--device", "cpu"];
    let mut process = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
