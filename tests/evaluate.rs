//! `crossalign evaluate`: its figures against those of `crossalign classify`, its lists and its resume file.
#![cfg(feature = "cli")]

mod common;

use common::Reference;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Pictures and classes that the methods disagree on; the model's weights are random.
const PICTURES: [(&str, &str); 3] = [("landscape", "striped flag"), ("portrait", "circle"), ("tiny", "circle")];
const TEMPLATES: &str = r#"["a photo of a {}.", "art of the {}."]"#;
const VIEWS: &str = "6";

/// A folder with the prompts, the templates and a data set of class folders.
struct Fixture {
    folder: tempfile::TempDir,
    model: String,
}

impl Fixture {
    fn new() -> Self {
        let reference = Reference::golden();
        let model = reference.root.join("models/transformers").to_str().unwrap().to_string();
        let fixture = Self { folder: tempfile::tempdir().unwrap(), model };
        fixture.write("prompts.json", reference.prompts_json());
        fixture.write("templates.json", TEMPLATES);
        for (picture, class) in PICTURES {
            let file = format!("data/{}/{picture}.png", class.replace(' ', "_"));
            fixture.write(&file, std::fs::read(reference.picture_path(picture)).unwrap());
        }
        std::fs::create_dir(fixture.path("data/gradient")).unwrap(); // a class without pictures
        fixture
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs a subcommand with the model, the prompts and the number of views.
    fn run(&self, command: &str, args: &[&str]) -> Output {
        let prompts = self.path("prompts.json");
        let mut run = Command::new(env!("CARGO_BIN_EXE_crossalign"));
        run.args([command, "--model", &self.model, "--prompts", &prompts, "--views", VIEWS]).args(args);
        run.output().unwrap()
    }

    #[track_caller]
    fn json(&self, command: &str, args: &[&str]) -> Value {
        let output = self.run(command, &[args, &["--format", "json"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Evaluates the class folders, all methods.
    #[track_caller]
    fn evaluate(&self, args: &[&str]) -> Value {
        let (data, templates) = (self.path("data"), self.path("templates.json"));
        self.json("evaluate", &[&[&data, "--templates", &templates], args].concat())
    }

    /// Expects the exit status 1 and one line on stderr that has all of `words`.
    #[track_caller]
    fn fails(&self, args: &[&str], words: &[&str]) {
        let output = self.run("evaluate", args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{stderr} does not say {word}");
        }
    }

    /// The true class's place in what `classify` prints, from 1.
    fn rank(&self, picture: &str, class: &str, args: &[&str]) -> usize {
        let path = Reference::golden().picture_path(picture);
        let line = self.json("classify", &[&[path.to_str().unwrap(), "--top", "all"], args].concat());
        1 + line["predictions"].as_array().unwrap().iter().position(|p| p["class"] == class).unwrap()
    }
}

fn accuracy<'a>(result: &'a Value, method: &str) -> &'a Value {
    result["methods"].as_array().unwrap().iter().find(|entry| entry["method"] == method).unwrap()
}

#[test]
fn figures_count_what_classify_ranks() {
    let fixture = Fixture::new();
    let templates = fixture.path("templates.json");
    let labels = "circle,checkerboard,night sky,striped flag,gradient";
    // Four seeds: among them are runs with and without a right answer.
    let runs: [(&str, &[&[&str]]); 5] = [
        ("clip", &[&["--method", "clip"]]),
        ("cupl", &[&["--method", "cupl"]]),
        ("wca", &[&["--seed", "0"], &["--seed", "1"], &["--seed", "2"], &["--seed", "3"]]),
        ("paper", &[&["--score", "paper", "--seed", "0"]]),
        ("max", &[&["--score", "paper", "--reduction", "max", "--seed", "0"]]),
    ];
    let official = fixture.evaluate(&["--seeds", "4"]);
    let paper = fixture.evaluate(&["--seeds", "1", "--score", "paper"]);
    let max = fixture.evaluate(&["--seeds", "1", "--score", "paper", "--reduction", "max"]);
    for (method, runs) in runs {
        let entry = match method {
            "paper" => accuracy(&paper, "wca"),
            "max" => accuracy(&max, "wca"),
            _ => accuracy(&official, method),
        };
        let right = |args: &&[&str], top| {
            PICTURES.iter().filter(|(picture, class)| fixture.rank(picture, class, args) <= top).count()
        };
        for (key, top) in [("top1", 1), ("top5", 5)] {
            let expected: Vec<f64> = runs.iter().map(|args| 100.0 * right(args, top) as f64 / 3.0).collect();
            let found: Vec<f64> = entry[key]["runs"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
            assert_eq!(found.len(), expected.len());
            assert!(
                found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9),
                "{method}: {found:?}, {expected:?}"
            );
            let mean = expected.iter().sum::<f64>() / expected.len() as f64;
            assert!((entry[key]["mean"].as_f64().unwrap() - mean).abs() < 1e-9, "{method}");
            assert_eq!(entry[key]["standard_deviation"].is_null(), runs.len() == 1, "{method}");
        }
    }

    // clip-e, whose templates take the place of the prompts.
    let rank = |picture: &str, class: &str| {
        let path = Reference::golden().picture_path(picture);
        let args = ["classify", path.to_str().unwrap(), "--model", &fixture.model, "--prompts", &templates];
        let more = ["--labels", labels, "--method", "clip-e", "--top", "all", "--format", "json"];
        let output = Command::new(env!("CARGO_BIN_EXE_crossalign")).args(args).args(more).output().unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        line["predictions"].as_array().unwrap().iter().position(|p| p["class"] == class).unwrap()
    };
    let right = PICTURES.iter().filter(|(picture, class)| rank(picture, class) == 0).count();
    let found = accuracy(&official, "clip-e")["top1"]["mean"].as_f64().unwrap();
    assert!((found - 100.0 * right as f64 / 3.0).abs() < 1e-9);
}

#[test]
fn results_say_what_was_measured() {
    let fixture = Fixture::new();
    let result = fixture.evaluate(&["--seed", "7", "--seeds", "2", "--alpha", "0.3"]);
    for (field, value) in [("classes", 5), ("pictures", 3), ("skipped", 0), ("resumed", 0)] {
        assert_eq!(result[field], value, "{field}");
    }
    let methods: Vec<&Value> = result["methods"].as_array().unwrap().iter().map(|entry| &entry["method"]).collect();
    assert_eq!(methods, ["clip", "clip-e", "cupl", "wca"]);
    let parameters = &result["parameters"];
    assert_eq!((&parameters["views"], &parameters["alpha"]), (&6.into(), &0.3.into()));
    assert_eq!(parameters["seeds"], serde_json::json!([7, 8]));
    assert_eq!(parameters["score"], "official");
    // The same on one thread.
    assert_eq!(fixture.evaluate(&["--seed", "7", "--seeds", "2", "--alpha", "0.3", "--threads", "1"]), result);

    let output = fixture.run("evaluate", &[&fixture.path("data"), "--seeds", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let first: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(first, ["3", "", "method", "clip", "cupl", "wca"], "{text}");
    assert_eq!(text.matches('±').count(), 2, "{text}");
}

#[test]
fn a_list_gives_what_the_folders_give() {
    let fixture = Fixture::new();
    let lines = "data/striped_flag/landscape.png,striped_flag\n\n data/circle/tiny.png , circle \n\"data/circle/portrait.png\",circle\r\n";
    let from_folders = fixture.evaluate(&[]);
    for list in [lines.to_string(), format!("path,class\n{lines}"), format!("\u{feff}path,class\r\n{lines}")] {
        let list = fixture.write("list.csv", list);
        let from_list = fixture.json("evaluate", &[&list, "--templates", &fixture.path("templates.json")]);
        assert_eq!(from_list["methods"], from_folders["methods"]);
        assert_eq!(from_list["pictures"], 3);
    }
}

#[test]
fn bad_data_is_named() {
    let fixture = Fixture::new();
    for (list, words) in [
        ("data/circle/tiny.png,circle\na.png,square\n", &["list.csv", "line 2", "\"square\""][..]),
        ("data/circle/tiny.png\n", &["list.csv", "line 1", "1 fields"]),
        ("a,b,c\n", &["list.csv", "line 1", "3 fields"]),
        ("path,class\n", &["list.csv", "no pictures"]),
        ("", &["list.csv", "no pictures"]),
    ] {
        fixture.fails(&[&fixture.write("list.csv", list)], words);
    }
    fixture.fails(&[&fixture.write("list.csv", b"a.png,\xff\n")], &["list.csv", "UTF-8"]);
    fixture.fails(&["nowhere"], &["nowhere"]);
    fixture.write("data/square/a.png", "");
    fixture.fails(&[&fixture.path("data")], &["data/square", "\"square\""]);
    std::fs::remove_dir_all(fixture.path("data/square")).unwrap();
    fixture.fails(&[&fixture.path("data/gradient")], &["gradient", "no pictures"]);
    fixture.fails(
        &[&fixture.path("data"), "--templates", &fixture.path("prompts.json")],
        &["prompts.json", "descriptions"],
    );
    fixture.fails(&[&fixture.path("data"), "--alpha", "2"], &["crop sides"]);
}

#[test]
fn a_bad_picture_is_skipped() {
    let fixture = Fixture::new();
    let expected = fixture.evaluate(&[]);
    let good = std::fs::read(fixture.path("data/circle/tiny.png")).unwrap();
    fixture.write("data/circle/a.png", &good[..good.len() / 2]);
    // Longer than a side may be: decoded, but no view can be taken of it.
    image::DynamicImage::new_luma8(1, 1_100_000).save(fixture.path("data/gradient/tall.png")).unwrap();
    let args = [&fixture.path("data"), "--templates", &fixture.path("templates.json"), "--format", "json"];
    let output = fixture.run("evaluate", &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("a.png: ") && lines[1].contains("tall.png: "), "{stderr}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["methods"], &found["skipped"]), (&expected["methods"], &2.into()));
}

#[test]
fn what_is_no_picture_in_a_class_folder_is_counted_and_left_out() {
    let fixture = Fixture::new();
    let (data, expected) = (fixture.path("data"), fixture.evaluate(&[]));
    fixture.write("data/circle/notes.txt", "not a picture");
    fixture.write("data/gradient/list.json", "[]");
    fixture.write("data/gradient/.hidden", "not a picture");
    fixture.write("data/readme.txt", "beside the class folders");
    let args = [&data, "--templates", &fixture.path("templates.json"), "--format", "json"];
    let output = fixture.run("evaluate", &args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, format!("crossalign: 2 files in {data} are not pictures: circle/notes.txt, …\n"));
    assert_eq!(output.status.code(), Some(0));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["methods"], &found["skipped"]), (&expected["methods"], &0.into()));
    // A list names each file: there it is a fault.
    let list = fixture.write("list.csv", "data/circle/tiny.png,circle\ndata/circle/notes.txt,circle\n");
    fixture.fails(&[&list], &["notes.txt: picture: found"]);
}

#[test]
fn a_list_comes_from_standard_input() {
    let fixture = Fixture::new();
    let prompts = fixture.path("prompts.json");
    let run = |list: &str, templates: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossalign"));
        command.current_dir(fixture.folder.path()).args(["evaluate", list, "--model", &fixture.model]);
        command.args(["--prompts", &prompts, "--views", VIEWS, "--templates", templates, "--format", "json"]);
        let input = std::fs::File::open(fixture.path(if list == "-" { "list.csv" } else { "templates.json" })).unwrap();
        command.stdin(input).output().unwrap()
    };
    fixture.write("list.csv", "\u{feff}path,class\r\ndata/circle/tiny.png,circle\r\n");
    let methods = |output: Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["methods"].clone();
    let expected = methods(run("list.csv", "templates.json"));
    assert_eq!(methods(run("-", "templates.json")), expected);
    assert_eq!(methods(run("list.csv", "-")), expected);
    let both = run("-", "-");
    assert!(both.status.code() == Some(1) && String::from_utf8_lossy(&both.stderr).contains("2 times -"));
}

#[cfg(unix)]
#[test]
fn results_are_kept_in_a_regular_file_only() {
    let fixture = Fixture::new();
    let (data, pipe) = (fixture.path("data"), fixture.path("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", fixture.path("zeros")).unwrap();
    for (resume, word) in [
        ("/dev/full", "a device or a pipe"),
        ("/dev/zero", "a device or a pipe"),
        (&fixture.path("zeros"), "a device or a pipe"),
        (&pipe, "a device or a pipe"),
        (&data, "a folder"),
        ("-", "standard input"),
    ] {
        fixture.fails(&[&data, "--resume", resume], &[resume, "resume file", word, "regular file"]);
    }
    let astray = fixture.path("missing/resume.jsonl");
    fixture.fails(&[&data, "--resume", &astray], &[&astray, "no such folder"]);
    // A link to a file that is not there yet makes it.
    std::os::unix::fs::symlink("resume.jsonl", fixture.path("link")).unwrap();
    fixture.evaluate(&["--resume", &fixture.path("link")]);
    assert_eq!(fixture.evaluate(&["--resume", &fixture.path("resume.jsonl")])["resumed"], 3);
}

#[test]
fn a_run_goes_on_where_it_was_interrupted() {
    let fixture = Fixture::new();
    let resume = fixture.path("resume.jsonl");
    let evaluate = || fixture.evaluate(&["--resume", &resume]);
    let methods = fixture.evaluate(&[])["methods"].clone();
    let whole = evaluate();
    assert_eq!((&whole["methods"], &whole["resumed"]), (&methods, &0.into()));
    let bytes = std::fs::read(&resume).unwrap();
    let ends: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] == b'\n').map(|i| i + 1).collect();
    assert_eq!(ends.len(), 4);

    // Killed anywhere: in the header, at the end of a line, within one, before a line's end.
    for (length, resumed) in [(0, 0), (20, 0), (ends[0], 0), (ends[1], 1), (ends[1] + 30, 1), (ends[3] - 1, 2)] {
        std::fs::write(&resume, &bytes[..length]).unwrap();
        let result = evaluate();
        assert_eq!((&result["methods"], &result["resumed"]), (&methods, &resumed.into()), "{length} bytes");
        assert!(std::fs::read(&resume).unwrap() == bytes, "{length} bytes");
    }

    // What is in the file is not computed again: other ranks there are other figures.
    let text = String::from_utf8(bytes.clone()).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines[1..] {
        line["ranks"][0]["ranks"] = serde_json::json!([1]);
    }
    std::fs::write(&resume, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let result = evaluate();
    assert_eq!((&accuracy(&result, "clip")["top1"]["mean"], &result["resumed"]), (&100.0.into(), &3.into()));

    // A moved picture is known by its content, a changed one is new, one that is gone does not count.
    std::fs::write(&resume, &bytes).unwrap();
    std::fs::rename(fixture.path("data/circle/tiny.png"), fixture.path("data/circle/moved.png")).unwrap();
    assert_eq!(evaluate()["resumed"], 3);
    std::fs::copy(fixture.path("data/circle/moved.png"), fixture.path("data/circle/portrait.png")).unwrap();
    std::fs::remove_file(fixture.path("data/striped_flag/landscape.png")).unwrap();
    let result = evaluate();
    assert_eq!((&result["pictures"], &result["resumed"]), (&2.into(), &2.into()));
}

#[test]
fn a_resume_file_of_another_run_is_refused() {
    let fixture = Fixture::new();
    let (data, resume) = (fixture.path("data"), fixture.path("resume.jsonl"));
    let args = [&data[..], "--resume", &resume, "--seeds", "1"];
    fixture.json("evaluate", &args);
    let bytes = std::fs::read(&resume).unwrap();
    fixture
        .fails(&[&args[..], &["--alpha", "0.4"]].concat(), &["resume.jsonl", "found alpha 0.5", "expected alpha 0.4"]);
    fixture.fails(&[&args[..3], &["--seeds", "2"]].concat(), &["resume.jsonl", "seeds [0]", "seeds [0,1]"]);
    fixture.fails(&[&args[..], &["--precision", "bf16"]].concat(), &["resume.jsonl", "class_vectors"]);
    fixture.fails(&[&args[..], &["--templates", &fixture.path("templates.json")]].concat(), &["templates"]);
    assert!(std::fs::read(&resume).unwrap() == bytes, "a refused file is left as it is");

    for content in ["a letter", "{}\n", "{\"format\":\"other\"}\n{}\n"] {
        std::fs::write(&resume, content).unwrap();
        fixture.fails(&args, &["resume.jsonl", "crossalign-evaluation-1"]);
        assert_eq!(std::fs::read_to_string(&resume).unwrap(), content);
    }
    std::fs::write(&resume, [&bytes[..], b"{}\n"].concat()).unwrap();
    fixture.fails(&args, &["resume.jsonl", "line 5"]);
}

#[test]
fn options_that_choose_are_wrong_usage() {
    let fixture = Fixture::new();
    let data = fixture.path("data");
    for args in [["--method", "clip"], ["--boxes", "b.json"], ["--seeds", "0"]] {
        assert_eq!(fixture.run("evaluate", &[&args[..], &[&data]].concat()).status.code(), Some(2), "{args:?}");
    }
}

/// Whether a journal goes on under a changed option.
enum Journal {
    /// Refused: the results depend on it, by these parameters.
    Refuses(&'static [&'static str]),
    /// All is resumed: no figure depends on it.
    GoesOn,
}

/// Every option of `evaluate`: what the results in a journal depend on refuses it, the rest does not.
#[test]
fn a_journal_knows_all_that_its_results_depend_on() {
    use Journal::{GoesOn, Refuses};
    let fixture = Fixture::new();
    fixture.write("data/circle/turned.jpg", common::turned_jpeg());
    // One description has an entity, so that the cleaning of texts matters.
    let described =
        r#"{"circle": ["a ring &amp; a disc", "a round one"], "striped flag": ["stripes"], "gradient": ["shades"]}"#;
    let prompts = fixture.write("own.json", described);
    let more = fixture.write("more.json", described.replace("shades", "shades of grey").as_str());
    let reversed = fixture.write("labels.json", r#"["gradient", "striped flag", "circle"]"#);
    let templates = fixture.path("templates.json");
    let other = fixture.write("other.json", r#"["the {}", "art of the {}."]"#);
    let open_clip = Reference::golden().root.join("models/open_clip").to_str().unwrap().to_string();
    let rows: &[(&str, &str, Journal)] = &[
        ("model", &open_clip, Refuses(&["model"])),
        ("device", "reference", Refuses(&["class_vectors", "view_vector"])),
        ("device", "cpu", GoesOn),
        ("precision", "bf16", Refuses(&["class_vectors", "view_vector"])),
        ("threads", "1", GoesOn),
        ("text-cleaning", "openai", Refuses(&["class_vectors"])),
        ("activation", "gelu", Refuses(&["model", "class_vectors", "view_vector"])),
        ("prompts", &more, Refuses(&["prompts"])),
        ("labels", &reversed, Refuses(&["prompts"])),
        ("score", "official", Refuses(&["score"])),
        ("reduction", "max", Refuses(&["reduction", "class_vectors"])),
        ("image-scale", "3.9", Refuses(&["image_scale"])),
        ("text-scale", "2.1", Refuses(&["text_scale"])),
        ("template", "the {}", Refuses(&["template"])),
        ("templates", &other, Refuses(&["templates"])),
        ("views", "5", Refuses(&["views"])),
        ("alpha", "0.4", Refuses(&["alpha"])),
        ("beta", "0.8", Refuses(&["beta"])),
        ("seed", "1", Refuses(&["seeds"])),
        ("seeds", "2", Refuses(&["seeds"])),
        ("no-exif-rotation", "", Refuses(&["exif_rotation"])),
        ("max-pixels", "1000000", Refuses(&["max_pixels"])),
        ("format", "text", GoesOn),
    ];
    let data = fixture.path("data");
    let journal = fixture.path("journal.jsonl");
    let evaluate = |option: &str, value: &str| {
        let base = [
            ("model", &*fixture.model),
            ("device", "auto"),
            ("prompts", &prompts),
            ("templates", &templates),
            ("views", "4"),
            ("seeds", "1"),
            ("score", "paper"),
            ("format", "json"),
            ("resume", &journal),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossalign"));
        command.args(["evaluate", &data]);
        for (name, value) in base.iter().filter(|(name, _)| *name != option).chain([&(option, value)]) {
            if !name.is_empty() {
                command.arg(format!("--{name}")).args((!value.is_empty()).then_some(value));
            }
        }
        command.output().unwrap()
    };
    let first: Value = serde_json::from_slice(&evaluate("", "").stdout).unwrap();
    assert_eq!((&first["pictures"], &first["resumed"]), (&4.into(), &0.into()));
    let bytes = std::fs::read(&journal).unwrap();
    let mut named: std::collections::BTreeSet<&str> = Default::default();
    for (option, value, expect) in rows {
        let output = evaluate(option, value);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match expect {
            Refuses(parameters) => {
                assert_eq!(output.status.code(), Some(1), "--{option} {value} is not noticed");
                let (found, _) = stderr.split_once("expected").unwrap_or_else(|| panic!("--{option}: {stderr}"));
                for parameter in *parameters {
                    assert!(found.contains(&format!("{parameter} ")), "--{option}: {stderr} does not say {parameter}");
                }
                named.extend(*parameters);
            }
            GoesOn => {
                assert!(output.status.success(), "--{option}: {stderr}");
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(*option == "format" || text.contains("\"resumed\":4"), "--{option}: {text}");
            }
        }
        assert!(std::fs::read(&journal).unwrap() == bytes, "--{option}: the journal is left as it is");
    }

    // Of two reductions over the same texts, too.
    let other = fixture.path("best.jsonl");
    let best = |reduction: &str| {
        let resume = ["--resume", &other, "--score", "paper", "--seeds", "1", "--reduction", reduction];
        fixture.run("evaluate", &[&[&*data], &resume[..]].concat())
    };
    assert!(best("best:2").status.success() && best("best:2").status.success());
    let stderr = String::from_utf8(best("best:3").stderr).unwrap();
    assert!(stderr.contains("found reduction \"best:2\", expected reduction \"best:3\""), "{stderr}");

    // A parameter or an option that is added has no row.
    let parameters = first["parameters"].as_object().unwrap();
    assert_eq!(parameters.keys().map(String::as_str).collect::<Vec<_>>(), named.into_iter().collect::<Vec<_>>());
    let help = fixture.run("evaluate", &["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let options =
        help.lines().filter_map(|line| line.trim_start().strip_prefix("--").filter(|_| line.starts_with("  ")));
    for option in options.map(|option| option.split([' ', ',']).next().unwrap()) {
        assert!(option == "resume" || rows.iter().any(|(name, ..)| *name == option), "no row for --{option}");
    }

    // A parameter that this program does not know, or one that is missing.
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [(r#""alpha":0.5"#, r#""alpha":0.5,"gamma":1"#), (r#""alpha":0.5,"#, "")] {
        assert!(text.contains(from));
        std::fs::write(&journal, text.replacen(from, to, 1)).unwrap();
        let output = evaluate("", "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let name = if to.is_empty() { "alpha null" } else { "gamma 1" };
        assert!(output.status.code() == Some(1) && stderr.contains(name), "{to}: {stderr}");
    }
}

/// A journal's parameters see any change of the weights, also behind the bytes that the fingerprint looks at.
#[test]
fn a_journal_of_other_weights_is_refused() {
    let fixture = Fixture::new();
    let folder = fixture.path("model");
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(&fixture.model).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, Path::new(&folder).join(path.file_name().unwrap())).unwrap();
    }
    let fixture = Fixture { model: folder, ..fixture };
    let weights = Path::new(&fixture.model).join("model.safetensors");
    let golden = std::fs::read(&weights).unwrap();
    let (size, metadata) = safetensors::SafeTensors::read_metadata(&golden).unwrap();
    let (data, resume) = (fixture.path("data"), fixture.path("resume.jsonl"));
    let args = [&*data, "--seeds", "1", "--resume", &resume];
    fixture.json("evaluate", &args);
    for tensor in [
        "vision_model.embeddings.patch_embedding.weight",
        "vision_model.embeddings.position_embedding.weight",
        "vision_model.encoder.layers.0.self_attn.q_proj.weight",
        "vision_model.encoder.layers.1.self_attn.v_proj.weight",
        "vision_model.encoder.layers.1.mlp.fc2.weight",
        "visual_projection.weight",
    ] {
        let (_, end) = metadata.info(tensor).unwrap().data_offsets;
        let mut changed = golden.clone();
        changed[8 + size + end - 1] ^= 0x80; // the last element's sign
        std::fs::write(&weights, changed).unwrap();
        let output = fixture.run("evaluate", &args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{tensor}: not noticed");
        assert!(stderr.contains("view_vector") && !stderr.contains("class_vectors"), "{tensor}: {stderr}");
    }
    std::fs::write(&weights, golden).unwrap();
    assert_eq!(fixture.json("evaluate", &args)["resumed"], 3);
}

/// A picture is known by its content and class: other ones are new, other names and places are not.
#[test]
fn a_journal_knows_pictures_by_content_and_class() {
    let fixture = Fixture::new();
    let resume = fixture.path("resume.jsonl");
    let list = |lines: &str| {
        let list = fixture.write("list.csv", lines);
        let result = fixture.json("evaluate", &[&list, "--seeds", "1", "--resume", &resume]);
        (result["pictures"].as_u64().unwrap(), result["resumed"].as_u64().unwrap())
    };
    let (flag, tiny) = ("data/striped_flag/landscape.png", "data/circle/tiny.png");
    assert_eq!(list(&format!("{flag},striped flag\n{tiny},circle\n")), (2, 0));
    assert_eq!(list(&format!("{tiny},circle\n{flag},striped flag\n")), (2, 2), "another order");
    assert_eq!(list(&format!("{tiny},gradient\n{flag},striped flag\n")), (2, 1), "another class");
    assert_eq!(list(&format!("{tiny},gradient\n{tiny},circle\n{tiny},circle\n")), (3, 3), "the same twice");
    let bytes = std::fs::read(fixture.path(tiny)).unwrap();
    fixture.write("elsewhere/other.name", &bytes);
    assert_eq!(list("elsewhere/other.name,circle\n"), (1, 1), "another name and folder");
    let mut picture = image::load_from_memory(&bytes).unwrap().into_rgb8();
    picture.get_pixel_mut(0, 0).0[0] ^= 1;
    picture.save(fixture.path(tiny)).unwrap();
    assert_eq!(list(&format!("{tiny},circle\n")), (1, 0), "other content under the same name");
    // The data moved as a whole, with its list.
    std::fs::rename(fixture.path("data"), fixture.path("moved")).unwrap();
    assert_eq!(list("moved/striped_flag/landscape.png,striped_flag\n"), (1, 1));
}
