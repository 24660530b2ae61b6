//! What `-o` may name, and what is told before anything is computed.

use super::{Folder, command, fails, golden, succeeds};
use std::collections::HashMap;
use std::path::Path;

/// Each command that writes a file, without `-o`. Its model is not there, so that it is not reached.
fn commands(picture: &str, prompts: &str) -> [Vec<String>; 4] {
    [
        vec!["views", picture, "--model", "nowhere"],
        vec!["embed", "--image", picture, "--model", "nowhere"],
        vec!["compile", "--prompts", prompts, "--model", "nowhere"],
        vec!["explain", picture, "--class", "cat", "--prompts", prompts, "--model", "nowhere"],
    ]
    .map(|args| args.into_iter().map(String::from).collect())
}

struct Fixture {
    folder: Folder,
    picture: String,
    prompts: String,
}

impl Fixture {
    fn new() -> Self {
        let folder = Folder::new();
        let picture = folder.path("picture.png");
        std::fs::copy(golden("pictures/tiny.png"), &picture).unwrap();
        let prompts = folder.write("prompts.json", r#"{"cat": ["fur"]}"#);
        Self { folder, picture, prompts }
    }

    /// Expects that every command refuses to write to what `out` gives for its format.
    #[track_caller]
    fn refuses(&self, out: impl Fn(&str) -> String, words: &[&str]) {
        for args in commands(&self.picture, &self.prompts) {
            let out = out(if args[0] == "explain" { "png" } else { "safetensors" });
            let args: Vec<&str> = args.iter().map(String::as_str).chain(["-o", &out]).collect();
            fails(&args, &[&[&*out], words].concat());
        }
    }

    /// Writes the picture's views, 20×20 pixels each of 1.
    fn views(&self, out: &str) -> Vec<u8> {
        succeeds(&["views", &self.picture, "--size", "4", "--views", "0", "-o", out]);
        std::fs::read(out).unwrap()
    }
}

#[test]
fn an_extension_says_what_is_written() {
    let fixture = Fixture::new();
    for name in ["y.jpg", "y.json", "y.npy", "y.safetensor", "y.safetensors.bak"] {
        fixture.refuses(|_| fixture.folder.path(name), &["found a name in .", "expected ."]);
        assert!(!Path::new(&fixture.folder.path(name)).exists());
    }
    let model = golden("models/transformers");
    let (png, safetensors) = (fixture.folder.path("y.png"), fixture.folder.path("y.safetensors"));
    for command in [&["embed", "--image", &fixture.picture][..], &["compile", "--prompts", &fixture.prompts]] {
        fails(&[command, &["--model", &model, "-o", &png]].concat(), &["y.png", "expected .safetensors"]);
    }
    let explain =
        ["explain", &fixture.picture, "--class", "cat", "--prompts", &fixture.prompts, "--model", &model, "-o"];
    fails(&[&explain[..], &[&safetensors]].concat(), &["y.safetensors", "expected .png"]);

    let (small, large) = (fixture.folder.path("z.png"), fixture.folder.path("Z.PNG"));
    assert_eq!(fixture.views(&small), fixture.views(&large));
    let (bare, tensors) = (fixture.folder.path("bare"), fixture.folder.path("z.SafeTensors"));
    assert_eq!(fixture.views(&bare), fixture.views(&tensors));
    succeeds(&[&explain[..], &[&fixture.folder.path("heat")]].concat());
    assert!(std::fs::read(fixture.folder.path("heat")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn an_output_is_no_input() {
    let fixture = Fixture::new();
    let before = std::fs::read(&fixture.picture).unwrap();
    let mut names = vec![fixture.picture.clone(), fixture.folder.path("./picture.png")];
    let hard = fixture.folder.path("hard.png");
    std::fs::hard_link(&fixture.picture, &hard).unwrap();
    names.push(hard);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("picture.png", fixture.folder.path("link.png")).unwrap();
        names.push(fixture.folder.path("link.png"));
    }
    let model = golden("models/transformers");
    let words = ["output: found a file that this command reads"];
    for out in &names {
        fails(&["views", &fixture.picture, "--size", "4", "-o", out], &[out, words[0]]);
        let explain = ["explain", &fixture.picture, "--class", "cat", "--prompts", &fixture.prompts, "-o", out];
        fails(&[&explain[..], &["--model", &model]].concat(), &[out, words[0]]);
    }
    // Boxes, texts and prompts, in files without an extension; the picture that is standard input.
    let boxes = fixture.folder.write("boxes", "[[0, 0, 1, 1]]");
    let texts = fixture.folder.write("texts", r#"["a"]"#);
    let prompts = fixture.folder.write("prompts", r#"{"cat": "fur"}"#);
    let labels = fixture.folder.write("labels", "cat\ndog\n");
    for args in [
        &["views", &fixture.picture, "--size", "4", "--boxes", &boxes, "-o", &boxes][..],
        &["embed", "--image", &fixture.picture, "--model", &model, "--boxes", &boxes, "-o", &boxes],
        &["embed", "--model", &model, "--texts", &texts, "-o", &texts],
        &["compile", "--model", &model, "--prompts", &prompts, "-o", &prompts],
        &["compile", "--model", &model, "--labels", &labels, "--method", "clip", "-o", &labels],
    ] {
        fails(args, &words);
    }
    let stdin = std::fs::File::open(&fixture.picture).unwrap();
    let args = ["views", "-", "--size", "4", "-o", &fixture.picture];
    let output = command(&args).stdin(stdin).output().unwrap();
    super::check_failure(&output, &args, &words);
    assert_eq!(std::fs::read(&fixture.picture).unwrap(), before);
}

#[test]
fn a_models_weights_are_not_replaced() {
    let fixture = Fixture::new();
    let dir = fixture.folder.model("transformers");
    let (model, weights) = (dir.to_str().unwrap(), dir.join("model.safetensors"));
    let before = std::fs::read(&weights).unwrap();
    let (weights, own) = (weights.to_str().unwrap(), dir.join("classifier.safetensors"));
    let compile = ["compile", "--model", model, "--prompts", &fixture.prompts, "-o"];
    for args in [
        &["views", &fixture.picture, "--model", model, "-o", weights][..],
        &["embed", "--image", &fixture.picture, "--model", model, "-o", weights],
        &[&compile[..], &[weights]].concat(),
    ] {
        fails(args, &["model.safetensors: output: found a file that this command reads"]);
    }
    assert!(std::fs::read(weights).unwrap() == before);
    // Another file beside them is written, and written again.
    for _ in 0..2 {
        succeeds(&[&compile[..], &[own.to_str().unwrap()]].concat());
    }
}

#[test]
fn a_models_parts_are_not_replaced() {
    let fixture = Fixture::new();
    let dir = fixture.folder.model("transformers");
    let (whole, part) = (dir.join("model.safetensors"), dir.join("model-00001-of-00001.safetensors"));
    std::fs::rename(&whole, &part).unwrap();
    let part = part.to_str().unwrap();
    let names = super::common::names(Path::new(part));
    let parts: HashMap<_, _> = names.into_iter().map(|name| (name, "model-00001-of-00001.safetensors")).collect();
    let index = serde_json::json!({ "weight_map": parts });
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let before = std::fs::read(part).unwrap();
    let compile = ["compile", "--model", dir.to_str().unwrap(), "--prompts", &fixture.prompts, "-o"];
    let words = ["model-00001-of-00001.safetensors: output: found a file that this command reads"];
    fails(&[&compile[..], &[part]].concat(), &words);
    assert!(std::fs::read(part).unwrap() == before);
    // A file that is called a model and is no part of this one.
    for _ in 0..2 {
        succeeds(&[&compile[..], &[dir.join("my_model.safetensors").to_str().unwrap()]].concat());
    }
}

#[test]
fn a_missing_folder_is_named_as_such() {
    let fixture = Fixture::new();
    let missing = fixture.folder.path("missing");
    let words = [&*format!("no such folder: {missing}")];
    fixture.refuses(|format| format!("{missing}/x.{format}"), &words);
    fixture.refuses(|_| format!("{missing}/"), &["no such folder"]);
    assert!(!Path::new(&missing).exists());
    fixture.refuses(|_| fixture.folder.path("."), &["output: found a folder, expected a file"]);
    // A file where a folder should be.
    let below = |format: &str| format!("{}/x.{format}", fixture.prompts);
    fixture.refuses(below, &["prompts.json/x."]);
}

#[test]
fn a_read_only_file_is_not_replaced() {
    let fixture = Fixture::new();
    for format in ["png", "safetensors"] {
        let out = fixture.folder.write(&format!("kept.{format}"), "kept");
        let mut permissions = std::fs::metadata(&out).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(out, permissions).unwrap();
    }
    let kept = |format: &str| fixture.folder.path(&format!("kept.{format}"));
    fixture.refuses(kept, &["output: found a read-only file"]);
    for format in ["png", "safetensors"] {
        assert_eq!(std::fs::read_to_string(kept(format)).unwrap(), "kept");
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::new();
    let path = |name: &str| fixture.folder.path(name);
    std::fs::create_dir(path("store")).unwrap();
    std::fs::create_dir(path("links")).unwrap();
    fixture.folder.write("store/old.png", "old");
    // To a file, to a link, relative to its own folder, to a file that is not there yet.
    symlink("../store/old.png", path("links/a.png")).unwrap();
    symlink("a.png", path("links/b.png")).unwrap();
    symlink(path("store/new.png"), path("links/c.png")).unwrap();
    symlink("c.png", path("links/d.png")).unwrap();
    let expected = fixture.views(&path("plain.png"));
    for (link, target) in [("a", "old"), ("b", "old"), ("c", "new"), ("d", "new")] {
        let (link, target) = (path(&format!("links/{link}.png")), path(&format!("store/{target}.png")));
        fixture.views(&link);
        assert!(Path::new(&link).is_symlink(), "{link}");
        assert!(!Path::new(&target).is_symlink() && std::fs::read(&target).unwrap() == expected, "{link}");
        std::fs::write(&target, "old").unwrap();
        if target.ends_with("new.png") {
            std::fs::remove_file(&target).unwrap();
        }
    }
    assert_eq!(std::fs::read_dir(path("links")).unwrap().count(), 4);
    // A read-only target, a loop, a folder that is not there.
    let mut permissions = std::fs::metadata(path("store/old.png")).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path("store/old.png"), permissions).unwrap();
    symlink("loop.png", path("loop.png")).unwrap();
    symlink("missing/x.png", path("astray.png")).unwrap();
    for (link, word) in [("links/a.png", "read-only"), ("loop.png", "loop.png: "), ("astray.png", "no such folder")] {
        fails(&["views", &fixture.picture, "--size", "4", "-o", &path(link)], &[&path(link), word]);
        assert!(Path::new(&path(link)).is_symlink(), "{link}");
    }
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_written_to() {
    let fixture = Fixture::new();
    let run = |out: &str| command(&["views", &fixture.picture, "--size", "4", "--views", "0", "-o", out]);
    assert!(run("/dev/null").output().unwrap().status.success());
    fails(&["views", &fixture.picture, "--size", "4", "-o", "/dev/full"], &["/dev/full: ", "No space left"]);
    let expected = fixture.views(&fixture.folder.path("plain"));
    let output = run("/dev/stdout").output().unwrap();
    assert!(output.status.success() && output.stdout == expected);
    let pipe = fixture.folder.path("results.pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut writer = run(&pipe).spawn().unwrap();
    assert_eq!(std::fs::read(&pipe).unwrap(), expected);
    assert!(writer.wait().unwrap().success());
}
