//! Pictures that cannot be scored, folders of pictures, photographs.

use super::{Folder, crossalign, fails, golden, succeeds};
use image::{DynamicImage, ImageFormat};
use std::path::Path;
use std::process::Output;

fn stderr(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr).lines().map(str::to_string).collect()
}

/// Options for the method on a golden model: templates serve all.
fn options<'a>(model: &'a str, templates: &'a str, method: &'a str) -> [&'a str; 10] {
    ["--model", model, "--prompts", templates, "--labels", "cat,dog", "--method", method, "--views", "5"]
}

/// A grey picture.
fn grey(folder: &Folder, name: &str, (width, height): (u32, u32)) -> String {
    let path = folder.path(name);
    DynamicImage::new_luma8(width, height).save(&path).unwrap();
    path
}

#[test]
fn one_bad_picture_does_not_stop_the_others() {
    let (folder, pictures) = (Folder::new(), Folder::new());
    let (prompts, model) = (folder.write("prompts.json", r#"{"cat": ["a"]}"#), golden("models/transformers"));
    let good = std::fs::read(golden("pictures/landscape.png")).unwrap();
    let files = [
        pictures.write("a.png", &good),
        pictures.write("b.png", &good[..good.len() / 2]),
        pictures.write("c.png", ""),
        pictures.write("d.png", "not a picture"),
        pictures.write("e.png", &good),
    ];
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    for method in ["wca", "clip"] {
        let options = ["--model", &model, "--prompts", &prompts, "--format", "json", "--method", method];
        let output = crossalign(&[&["classify"], &files[..], &options].concat());
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout.lines().count(), 2, "{stdout}");
        assert_eq!(stderr.len(), 3, "{stderr:?}");
        for (line, name) in stderr.iter().zip(["b.png", "c.png", "d.png"]) {
            assert!(line.contains(name), "{line}");
        }
    }
    let picture = golden("pictures/landscape.png");
    let classify = ["classify", &picture, "--model", &model, "--prompts", &prompts];
    fails(&[&classify[..], &["--max-pixels", "6463"]].concat(), &["landscape.png", "101×64"]);
    succeeds(&[&classify[..], &["--max-pixels", "6464"]].concat());
    let empty = Folder::new();
    fails(&["classify", &empty.path(""), "--model", &model, "--prompts", &prompts], &["no files"]);
    fails(&["classify", "missing.png", "--model", &model, "--prompts", &prompts], &["missing.png: no such file"]);
}

#[test]
fn a_picture_that_fails_after_decoding_loses_only_itself() {
    let folder = Folder::new();
    let (model, templates) = (golden("models/transformers"), folder.write("templates.json", r#"["a {}."]"#));
    // Longer than a side may be, and than the boxes allow.
    let tall = grey(&folder, "tall.png", (1, 1_100_000));
    let wide = grey(&folder, "wide.png", (1_100_000, 1));
    let small = golden("pictures/tiny.png");
    let (first, last) = (golden("pictures/landscape.png"), golden("pictures/portrait.png"));
    let boxes = folder.write("boxes.json", "[[0, 0, 61, 64], [50, 60, 4, 4]]");
    let without: &[&str] = &[];
    for (method, bad, more) in [
        ("wca", vec![&tall, &wide], without),
        ("wca", vec![&tall, &small], &["--boxes", &boxes]),
        ("clip", vec![&tall, &wide], without),
        ("cupl", vec![&wide, &tall], without),
        ("clip-e", vec![&tall], without),
    ] {
        let options = [&options(&model, &templates, method)[..], more].concat();
        let run = |pictures: &[&str]| crossalign(&[&["classify"], pictures, &options].concat());
        let alone = [&first, &last].map(|picture| String::from_utf8(run(&[picture]).stdout).unwrap());
        // In front, in the middle and at the end of the batch.
        let names: Vec<&str> = bad.iter().map(|path| path.as_str()).collect();
        let output = run(&[&names[..1], &[&first], &names[1..], &[&last], &names[..1]].concat());
        assert_eq!(output.status.code(), Some(1), "{method}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), alone.concat(), "{method}");
        let expected = [&names[..], &names[..1]].concat();
        let found = stderr(&output);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (line, name) in found.iter().zip(expected) {
            assert!(line.starts_with(&format!("crossalign: {name}: ")), "{method}: {line}");
        }
    }
    for args in [
        &["views", &tall, "--size", "8", "-o", &folder.path("v.png")][..],
        &["embed", "--image", &tall, "--model", &model, "-o", &folder.path("e.safetensors")],
        &["embed", "--image", &small, "--boxes", &boxes, "--model", &model, "-o", &folder.path("e.safetensors")],
        &["explain", &tall, "--class", "apple", "-o", &folder.path("x.png")],
    ] {
        let picture = args.iter().find(|arg| arg.ends_with(".png")).unwrap();
        fails(args, &[&format!("crossalign: {picture}: ")]);
    }
}

#[test]
fn what_is_no_picture_in_a_folder_is_counted_and_left_out() {
    let (folder, data) = (Folder::new(), Folder::new());
    let (model, templates) = (golden("models/transformers"), folder.write("templates.json", r#"["a {}."]"#));
    let good = std::fs::read(golden("pictures/landscape.png")).unwrap();
    let root = data.path("");
    for (name, content) in [("b.png", &good[..]), ("a.json", b"{}"), ("notes.txt", b"hello"), (".hidden", b"hello")] {
        data.write(name, content);
    }
    for name in ["sub", "sub/deeper", ".git", "empty"] {
        std::fs::create_dir(data.path(name)).unwrap();
    }
    for (name, content) in
        [("sub/c.png", &good[..]), ("sub/deeper/d.png", &good), ("sub/list.csv", b"a,b"), (".git/e.png", b"")]
    {
        data.write(name, content);
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(&root, data.path("sub/deeper/up")).unwrap();
    let names = |output: &Output| -> Vec<String> {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let paths = stdout.lines().filter(|line| !line.starts_with(' '));
        paths.map(|path| Path::new(path).strip_prefix(&root).unwrap().to_str().unwrap().to_string()).collect()
    };
    for method in ["wca", "clip"] {
        let options = options(&model, &templates, method);
        let run = |args: &[&str]| crossalign(&[&["classify"], args, &options].concat());
        let output = run(&[&root]);
        assert_eq!((output.status.code(), names(&output)), (Some(0), vec!["b.png".to_string()]));
        assert_eq!(stderr(&output), [format!("crossalign: 2 files in {root} are not pictures: a.json, …")]);

        let output = run(&[&root, "--recursive"]);
        let found: Vec<String> = names(&output).iter().map(|name| name.replace('\\', "/")).collect();
        assert_eq!(
            (output.status.code(), &found[..]),
            (Some(0), &["b.png", "sub/c.png", "sub/deeper/d.png"].map(String::from)[..])
        );
        assert_eq!(stderr(&output), [format!("crossalign: 3 files in {root} are not pictures: a.json, …")]);

        // Named, it is an error; and each folder has a line of its own.
        let (notes, sub) = (data.path("notes.txt"), data.path("sub"));
        let output = run(&[&notes, &root, &sub]);
        assert_eq!((output.status.code(), names(&output).len()), (Some(1), 2));
        let lines = stderr(&output);
        assert!(lines.len() == 3 && lines[0].contains("notes.txt: "), "{lines:?}");
        assert_eq!(lines[2], format!("crossalign: 1 file in {sub} is not a picture: list.csv"));
    }
    // A damaged picture is a fault wherever it is.
    data.write("broken.png", &good[..good.len() / 2]);
    let output = crossalign(&[&["classify", &root], &options(&model, &templates, "clip")[..]].concat());
    assert_eq!((output.status.code(), names(&output)), (Some(1), vec!["b.png".to_string()]));
    assert!(stderr(&output)[0].contains("broken.png: "));
    // So is a folder without a picture.
    let options = options(&model, &templates, "clip");
    fails(&[&["classify", &data.path("empty")], &options[..]].concat(), &["empty: ", "no files", "--recursive"]);
    fails(&[&["classify", &data.path("empty"), "--recursive"], &options[..]].concat(), &["empty: ", "no files"]);
    data.write("empty/readme.md", "# hello");
    fails(&[&["classify", &data.path("empty")], &options[..]].concat(), &["1 file in", "is not a picture"]);
}

/// What is a picture by its content, or by its name, is no stray file.
#[test]
fn pictures_that_are_not_decoded_are_named() {
    let data = Folder::new();
    let good = std::fs::read(golden("pictures/tiny.png")).unwrap();
    let heic = b"\0\0\0\x18ftypheic\0\0\0\0";
    let files: [(&str, &[u8]); 6] = [
        ("a.heic", heic),
        ("b", heic),
        ("c.JPG", b"<html>"),
        ("d.txt", b"text"),
        ("e.avif", b"text"),
        ("f.png", &good),
    ];
    for (name, content) in files {
        data.write(name, content);
    }
    let root = data.path("");
    let output = crossalign(&["classify", &root, "--model", "mini", "--top", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    let found = stderr(&output);
    let expected =
        [("a.heic", "a HEIC picture"), ("b", "a HEIC picture"), ("c.JPG", "an HTML page"), ("e.avif", "plain text")];
    assert_eq!(found.len(), 5, "{found:?}");
    for (line, (name, what)) in found.iter().zip(expected) {
        assert!(line.starts_with(&format!("crossalign: {root}{name}: picture: found {what}")), "{line}");
    }
    assert_eq!(found[4], format!("crossalign: 1 file in {root} is not a picture: d.txt"));
}

#[cfg(unix)]
#[test]
fn what_has_no_end_is_refused() {
    let mini = ["--model", "mini", "--max-pixels", "1"];
    fails(&[&["classify", "/dev/zero"], &mini[..]].concat(), &["/dev/zero: picture: found a device"]);
    let args = [&["classify", "-"], &mini[..]].concat();
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let output = super::command(&args).stdin(zeros).output().unwrap();
    super::check_failure(&output, &args, &["-: picture: found more than 67108872 bytes"]);
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_in_a_folder_is_named() {
    let data = Folder::new();
    std::fs::copy(golden("pictures/tiny.png"), data.path("b.png")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", data.path("a.png")).unwrap();
    let output = crossalign(&["classify", &data.path(""), "--top", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
    assert!(stderr(&output).len() == 1 && stderr(&output)[0].contains("a.png"), "{:?}", stderr(&output));
}

#[cfg(feature = "mini")]
#[test]
fn mini_tells_once_that_a_photograph_is_not_for_it() {
    let folder = Folder::new();
    let picture = image::open(golden("pictures/landscape.png")).unwrap();
    let photographs = ["a.jpg", "b.png"].map(|name| {
        // By what is in the file, not by its name.
        picture.save_with_format(folder.path(name), ImageFormat::Jpeg).unwrap();
        folder.path(name)
    });
    let drawing = golden("pictures/landscape.png");
    let (out, data) = (folder.path("out"), folder.path("data"));
    std::fs::create_dir_all(folder.path("data/apple")).unwrap();
    for name in ["a.jpg", "b.jpg"] {
        std::fs::copy(&photographs[0], folder.path(&format!("data/apple/{name}"))).unwrap();
    }
    let (all, class) = ([&*photographs[0], &photographs[1], &drawing], ["--class", "apple", "-o", &out]);
    let runs: [&[&str]; 7] = [
        &[&["classify", "--method", "clip"], &all[..]].concat(),
        &[&["classify", "--views", "2"], &all[..]].concat(),
        &["embed", "--image", &photographs[1], "-o", &out],
        &[&["explain", &photographs[0], "--views", "2"], &class[..]].concat(),
        &["classify", "--views", "2", &folder.path("")],
        &["embed", "--image", &folder.path("data/apple"), "-o", &out],
        &["evaluate", &data, "--views", "2"],
    ];
    for args in runs {
        let output = crossalign(args);
        let lines = stderr(&output);
        let told = lines.iter().filter(|line| line.contains("mini knows drawings only")).count();
        assert_eq!((output.status.code(), told), (Some(0), 1), "{args:?}: {lines:?}");
        // Who chose mini knows it.
        assert_eq!(succeeds_quietly(&[args, &["--model", "mini"]].concat()), (), "{args:?}");
        std::fs::remove_file(&out).ok();
    }
    succeeds_quietly(&["classify", "--views", "2", &drawing]);
    let (model, templates) = (golden("models/transformers"), folder.write("templates.json", r#"["a {}."]"#));
    succeeds_quietly(&[&["classify", &photographs[0]], &options(&model, &templates, "wca")[..]].concat());
}

#[cfg(feature = "mini")]
#[track_caller]
fn succeeds_quietly(args: &[&str]) {
    succeeds(args);
    let lines = stderr(&crossalign(args));
    assert!(lines.is_empty(), "{args:?}: {lines:?}");
}
