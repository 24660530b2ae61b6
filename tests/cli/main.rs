//! The command line as a user runs it.

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod names;
mod options;
mod outputs;
mod pictures;
mod prompts;
mod streams;

use common::{Reference, assert_close, floats, json, tensor};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossalign"));
    command.args(args);
    command
}

fn crossalign(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Runs and expects success without a word on stderr but warnings; returns standard output.
#[track_caller]
fn succeeds(args: &[&str]) -> String {
    let output = crossalign(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let quiet = stderr.lines().all(|line| line.starts_with("crossalign: warning: "));
    assert!(output.status.success() && quiet, "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs and expects the exit status 1 and one line on stderr that has all of `words`.
#[track_caller]
fn fails(args: &[&str], words: &[&str]) {
    check_failure(&crossalign(args), args, words);
}

#[track_caller]
fn check_failure(output: &Output, args: &[&str], words: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{args:?}: {stderr} does not say {word}");
    }
}

/// A folder for one test's files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// A copy of a golden model, to damage.
    fn model(&self, name: &str) -> PathBuf {
        let from = Reference::golden().root.join("models").join(name);
        let to = self.0.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().unwrap() == "expected" {
                continue; // results, no part of the model
            }
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        to
    }
}

fn golden(path: &str) -> String {
    Reference::golden().root.join(path).to_str().unwrap().to_string()
}

fn boxes_json(reference: &Reference, picture: &str) -> String {
    let boxes = &reference.pictures().into_iter().find(|(name, _)| name == picture).unwrap().1;
    let lists: Vec<_> = boxes.iter().map(|b| format!("[{}, {}, {}, {}]", b.x, b.y, b.width, b.height)).collect();
    format!("[{}]", lists.join(", "))
}

/// Options that the model without a config needs.
fn activation(dir: &Path) -> &'static [&'static str] {
    if dir.ends_with("openai") { &["--activation", "quick_gelu"] } else { &[] }
}

fn check_scores(reference: &Reference) {
    let folder = Folder::new();
    let prompts = folder.write("prompts.json", reference.prompts_json());
    for dir in reference.models() {
        let expected = json(&dir.join("expected.json"));
        for (picture, _) in reference.pictures() {
            let boxes = folder.write("boxes.json", boxes_json(reference, &picture));
            let path = reference.picture_path(&picture);
            for (key, method, score) in [
                ("official", "wca", "official"),
                ("paper", "wca", "paper"),
                ("clip", "clip", "official"),
                ("cupl", "cupl", "official"),
            ] {
                let mut args = vec!["classify", path.to_str().unwrap(), "--model", dir.to_str().unwrap()];
                args.extend(["--prompts", &prompts, "--boxes", &boxes, "--format", "json", "--top", "all"]);
                args.extend(["--method", method, "--score", score]);
                args.extend(activation(&dir));
                let line: Value = serde_json::from_str(&succeeds(&args)).unwrap();
                let predictions = line["predictions"].as_array().unwrap();
                let entry = expected["pictures"][&picture][key].as_object().unwrap();
                assert_eq!(predictions.len(), entry.len());
                for prediction in predictions {
                    let expected = entry[prediction["class"].as_str().unwrap()].as_f64().unwrap();
                    let found = prediction["score"].as_f64().unwrap();
                    assert!((found - expected).abs() < 2e-5, "{picture} {key}: {found}, expected {expected}");
                }
                let scores: Vec<f64> = predictions.iter().map(|p| p["score"].as_f64().unwrap()).collect();
                assert!(scores.is_sorted_by(|a, b| a >= b), "best first");
            }
        }
    }
}

#[test]
fn classify_gives_the_golden_scores() {
    check_scores(&Reference::golden());
}

#[machine::has(shared_reference)]
#[test]
fn classify_gives_the_shared_scores() {
    check_scores(&Reference::shared());
}

#[test]
fn views_and_embeddings_are_the_golden_ones() {
    let (reference, folder) = (Reference::golden(), Folder::new());
    for dir in reference.models() {
        for (picture, _) in reference.pictures() {
            let boxes = folder.write("boxes.json", boxes_json(&reference, &picture));
            let path = reference.picture_path(&picture);
            let (path, model) = (path.to_str().unwrap(), dir.to_str().unwrap());
            let out = folder.path("out.safetensors");

            succeeds(&["views", path, "--model", model, "--boxes", &boxes, "-o", &out]);
            let (shape, bytes) = tensor(Path::new(&out), "views");
            let key = format!("{picture}.{}", shape[1]);
            assert!(bytes == tensor(&reference.root.join("views.safetensors"), &key).1, "{key}");

            let mut args = vec!["embed", "--model", model, "--image", path, "--boxes", &boxes, "--raw", "-o", &out];
            args.extend(activation(&dir));
            succeeds(&args);
            let expected = floats(&dir.join("expected.safetensors"), &format!("image_embeds.{picture}"));
            assert_close(&floats(Path::new(&out), "image_embeds"), &expected, 1e-4, &picture);
        }
    }
    let texts = folder.write("texts.json", r#"["a photo of a cat.", "a dog", "a photo of a cat."]"#);
    let (out, model) = (folder.path("texts.safetensors"), golden("models/transformers"));
    succeeds(&["embed", "--model", &model, "--texts", &texts, "-o", &out]);
    let (shape, _) = tensor(Path::new(&out), "text_embeds");
    let rows = floats(Path::new(&out), "text_embeds");
    assert_eq!(shape, [3, 24]);
    assert_eq!(rows[..24], rows[48..]);
    assert!((rows[..24].iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn results_do_not_depend_on_threads_or_company() {
    let folder = Folder::new();
    let prompts = folder.write("prompts.json", Reference::golden().prompts_json());
    let model = golden("models/open_clip");
    let pictures = [golden("pictures/landscape.png"), golden("pictures/portrait.png"), golden("pictures/tiny.png")];
    for method in ["wca", "clip"] {
        let run = |pictures: &[String], threads| {
            let mut args = vec!["classify"];
            args.extend(pictures.iter().map(String::as_str));
            args.extend(["--model", &model, "--prompts", &prompts, "--format", "json", "--top", "all"]);
            args.extend(["--method", method, "--threads", threads]);
            succeeds(&args)
        };
        let together = run(&pictures, "2");
        assert_eq!(together, run(&pictures, "1"));
        assert_eq!(together, run(&pictures, "3"));
        let alone: String = pictures.iter().map(|picture| run(std::slice::from_ref(picture), "1")).collect();
        assert_eq!(together, alone);
    }
}

#[test]
fn a_compiled_classifier_scores_the_same_and_knows_its_model() {
    let folder = Folder::new();
    let prompts = folder.write("prompts.json", Reference::golden().prompts_json());
    let (picture, model) = (golden("pictures/landscape.png"), golden("models/transformers"));
    let file = folder.path("classifier.safetensors");
    for method in ["wca", "cupl", "clip"] {
        let common = ["--model", &model, "--prompts", &prompts, "--method", method];
        succeeds(&[&["compile", "-o", &file], &common[..]].concat());
        let direct = succeeds(&[&["classify", &picture, "--format", "json"], &common[..]].concat());
        // The text tower is not read: without its tokenizer the folder still serves.
        let vision = Folder::new();
        let copy = vision.model("transformers");
        std::fs::remove_file(copy.join("tokenizer.json")).unwrap();
        let args = ["classify", &picture, "--format", "json", "--classifier", &file, "--model", copy.to_str().unwrap()];
        assert_eq!(succeeds(&args), direct);
    }
    let other = golden("models/open_clip");
    fails(&["classify", &picture, "--classifier", &file, "--model", &other], &[&file, "model"]);
    let bytes = std::fs::read(&file).unwrap();
    let damaged = folder.write("damaged.safetensors", &bytes[..bytes.len() - 3]);
    fails(&["classify", &picture, "--classifier", &damaged, "--model", &model], &["damaged.safetensors"]);
    fails(&["compile", "--model", &model, "--prompts", &prompts, "-o", "/nowhere/x"], &["/nowhere/x"]);
}

#[test]
fn bad_boxes_are_named() {
    let (folder, model) = (Folder::new(), golden("models/transformers"));
    let prompts = folder.write("prompts.json", r#"{"cat": ["a"]}"#);
    let picture = golden("pictures/landscape.png"); // 101×64
    for content in [
        "",
        "{}",
        "[]",
        "[[0, 0, 102, 1]]",
        "[[0, 64, 1, 1]]",
        "[[0, 0, 0, 5]]",
        "[[0, -1, 5, 5]]",
        "[[0, 0, 5]]",
        "[[0.5, 0, 5, 5]]",
        "[[0, 0, 4294967295, 1]]",
        "[[4294967295, 0, 2, 2]]",
    ] {
        let boxes = folder.write("boxes.json", content);
        let word = if content == "[]" { "views" } else { "box" };
        fails(&["classify", &picture, "--model", &model, "--prompts", &prompts, "--boxes", &boxes], &[word]);
    }
}

/// Replaces the first `from` in a safetensors header by `to` of the same length.
fn edit_header(file: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn bad_models_are_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 12] = [
        ("no weights", |dir| std::fs::remove_file(dir.join("model.safetensors")).unwrap(), &["model.safetensors"]),
        ("no config", |dir| std::fs::remove_file(dir.join("config.json")).unwrap(), &["config.json"]),
        ("no tokenizer", |dir| std::fs::remove_file(dir.join("tokenizer.json")).unwrap(), &["tokenizer.json"]),
        ("empty weights", |dir| std::fs::write(dir.join("model.safetensors"), "").unwrap(), &["model.safetensors"]),
        (
            "truncated weights",
            |dir| {
                let bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
                std::fs::write(dir.join("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
            },
            &["model.safetensors", "header"],
        ),
        (
            "header larger than the file",
            |dir| {
                std::fs::write(dir.join("model.safetensors"), [&1_000_000u64.to_le_bytes()[..], b"{}"].concat())
                    .unwrap()
            },
            &["header"],
        ),
        (
            "not a number",
            |dir| {
                let mut bytes = std::fs::read(dir.join("model.safetensors")).unwrap();
                let end = bytes.len();
                bytes[end - 2..].copy_from_slice(&[0, 0x7e]);
                std::fs::write(dir.join("model.safetensors"), bytes).unwrap();
            },
            &["tensor", "NaN"],
        ),
        (
            "missing tensor",
            |dir| {
                edit_header(
                    &dir.join("model.safetensors"),
                    "vision_model.post_layernorm.bias",
                    "vision_model.post_layernorm.bios",
                )
            },
            &["vision_model.post_layernorm.bias"],
        ),
        (
            "config contradicts the tensors",
            |dir| replace(&dir.join("config.json"), "\"patch_size\": 8", "\"patch_size\": 4"),
            &["patch_embedding", "[48, 3, 8, 8]", "[48, 3, 4, 4]"],
        ),
        (
            "more layers than tensors",
            |dir| replace(&dir.join("config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
            &["blocks", "2", "3"],
        ),
        (
            "a vocabulary smaller than the tokenizer's",
            |dir| replace(&dir.join("config.json"), "\"vocab_size\": 814", "\"vocab_size\": 813"),
            &["tokenizer.json", "813"],
        ),
        ("config is no JSON", |dir| std::fs::write(dir.join("config.json"), "{").unwrap(), &["config.json", "EOF"]),
    ];
    let picture = golden("pictures/tiny.png");
    for (case, damage, words) in cases {
        let folder = Folder::new();
        let prompts = folder.write("prompts.json", r#"{"cat": ["a"]}"#);
        let dir = folder.model("transformers");
        damage(&dir);
        eprintln!("{case}");
        fails(&["classify", &picture, "--model", dir.to_str().unwrap(), "--prompts", &prompts], words);
    }
    let (folder, openai) = (Folder::new(), golden("models/openai"));
    let prompts = folder.write("prompts.json", r#"{"cat": ["a"]}"#);
    fails(&["classify", &picture, "--model", &openai, "--prompts", &prompts], &["activation", "quick_gelu"]);
    fails(&["classify", &picture, "--model", "nowhere", "--prompts", &prompts], &["nowhere"]);
}

/// No local views are enough for all methods but WCA; the built-in model tells its views' size.
#[test]
fn views_may_be_none_and_the_models_own() {
    let (folder, picture) = (Folder::new(), golden("pictures/tiny.png"));
    let (model, prompts) = (golden("models/transformers"), folder.write("prompts.json", r#"{"cat": ["a"]}"#));
    let classify = ["classify", &picture, "--model", &model, "--prompts", &prompts, "--views", "0"];
    succeeds(&[&classify[..], &["--method", "clip"]].concat());
    fails(&classify, &["crossalign: views: found 0 local views"]);
    let out = folder.path("views");
    succeeds(&["views", &picture, "--model", "mini", "--views", "1", "-o", &out]);
    let side = crossalign::model::Config::open("models/mini", None).unwrap().image_size as usize;
    assert_eq!(tensor(Path::new(&out), "views").0, [2, side, side, 3]);
}

/// `embed` reads the tower that it needs: what is wrong with the other one is not seen.
#[test]
fn embed_reads_the_tower_that_it_needs() {
    let folder = Folder::new();
    let (texts, picture, out) =
        (folder.write("texts.json", r#"["a cat"]"#), golden("pictures/tiny.png"), folder.path("out"));
    for (tensor, of_text) in [("text_model.final_layer_norm.bias", true), ("vision_model.post_layernorm.bias", false)] {
        let folder = Folder::new();
        let model = folder.model("transformers");
        let file = model.join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let at = start + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        bytes[at..at + 4].fill(0xff); // not a number, whatever the type
        std::fs::write(&file, bytes).unwrap();
        let embed = ["embed", "--model", model.to_str().unwrap(), "-o", &out];
        let (texts, image) = (["--texts", &texts], ["--image", &picture]);
        let (serves, refused) = if of_text { (image, texts) } else { (texts, image) };
        succeeds(&[&embed[..], &serves].concat());
        fails(&[&embed[..], &refused].concat(), &[tensor, "NaN"]);
        fails(&[&embed[..], &texts, &image].concat(), &[tensor, "NaN"]);
    }
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {}", file.display());
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_contact_sheet_shows_all_views() {
    let folder = Folder::new();
    let [sheet, file] = ["sheet.png", "views.safetensors"].map(|name| folder.path(name));
    for (local, columns, rows) in [(0, 1, 1), (1, 2, 1), (2, 2, 2), (6, 3, 3), (12, 4, 4)] {
        for out in [&sheet, &file] {
            let views = local.to_string();
            succeeds(&["views", &golden("pictures/landscape.png"), "--size", "16", "--views", &views, "-o", out]);
        }
        let mut expected = image::RgbImage::from_pixel(columns * 20 + 4, rows * 20 + 4, image::Rgb([255; 3]));
        let (shape, bytes) = tensor(Path::new(&file), "views");
        assert_eq!(shape, [local + 1, 16, 16, 3]);
        for (i, view) in (0..).zip(bytes.chunks(16 * 16 * 3)) {
            let view = image::RgbImage::from_raw(16, 16, view.to_vec()).unwrap();
            image::imageops::replace(
                &mut expected,
                &view,
                4 + 20 * (i % i64::from(columns)),
                4 + 20 * (i / i64::from(columns)),
            );
        }
        assert!(image::open(&sheet).unwrap().into_rgb8() == expected, "{local} local views");
    }
}

#[test]
fn bench_and_devices_answer() {
    let bench = ["bench", "--arch", "ViT-B-32", "--views", "3", "--format", "json"];
    let line = succeeds(&[&bench[..], &["--device", "cpu"]].concat());
    let line: Value = serde_json::from_str(&line).unwrap();
    let [seconds, rate, speed] =
        ["seconds_median", "views_per_s", "gflop_per_s"].map(|field| line[field].as_f64().unwrap());
    assert!(seconds > 0.0 && (rate * seconds - 3.0).abs() < 1e-9, "{line}");
    assert!((speed * seconds - 3.0 * 8.817_623_04).abs() < 1e-9, "{line}");
    assert!(line["threads"].as_u64() > Some(0) && line["views"] == 3, "{line}");
    fails(&["bench", "--arch", "ViT-X"], &["ViT-B-32"]);
    assert_eq!(line["precision"], "f32", "auto, without a GPU");
    let devices = succeeds(&["devices"]);
    assert!(devices.lines().any(|line| line.starts_with("cpu ") && line.ends_with(", precision f32")), "{devices}");
    for name in ["auto", "cpu", "wgpu", "cuda", "reference"] {
        assert!(devices.lines().any(|line| line.starts_with(name)), "{devices}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let no_number = ["0", "-1", "most"].map(|top| ["classify", "x.png", "--top", top]);
    let others = [&["classify"][..], &["views", "x.png", "-o", "y"], &["nonsense"]];
    for args in no_number.iter().map(|args| &args[..]).chain(others) {
        assert_eq!(crossalign(args).status.code(), Some(2), "{args:?}");
    }
}
