//! Every option of every command, once away from its default, with an effect that can be seen. The table is held against
//! what `--help` lists: an option that is added has no row, and fails.

use super::{Folder, command, golden};
use crossalign::CompiledClassifier;
use std::collections::BTreeSet;

/// What an option does to a run of its command.
enum Effect {
    /// It succeeds, with another result.
    Differs,
    /// It fails, and says this.
    Fails(&'static str),
    /// It succeeds, and the result has this.
    Says(&'static str),
    /// It succeeds, with the same result: the option says again what is given.
    Same,
}
use Effect::{Differs, Fails, Same, Says};

/// A command; the option; what is added to the command's usual arguments, or takes their place, or without a value
/// takes them out (`-`) or stands alone (empty); the effect.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], Effect);

/// The usual arguments; `@` stands for the folder of the test. The picture is told by an empty name.
const USUAL: &[(&str, &[(&str, &str)])] = &[
    (
        "classify",
        &[
            ("", "@/turned.jpg"),
            ("--model", "@/model"),
            ("--prompts", "@/prompts.json"),
            ("--views", "4"),
            ("--top", "all"),
            ("--format", "json"),
        ],
    ),
    ("compile", &[("--model", "@/model"), ("--prompts", "@/prompts.json"), ("--output", "@/out")]),
    (
        "embed",
        &[("--model", "@/model"), ("--image", "@/turned.jpg"), ("--texts", "@/texts.json"), ("--output", "@/out")],
    ),
    (
        "evaluate",
        &[
            ("", "@/data"),
            ("--model", "@/model"),
            ("--prompts", "@/prompts.json"),
            ("--views", "4"),
            ("--seeds", "1"),
            ("--format", "json"),
        ],
    ),
    (
        "explain",
        &[
            ("", "@/turned.jpg"),
            ("--class", "cat"),
            ("--model", "@/model"),
            ("--prompts", "@/prompts.json"),
            ("--views", "4"),
            ("--format", "json"),
            ("--output", "@/out"),
        ],
    ),
    ("views", &[("", "@/turned.jpg"), ("--size", "8"), ("--views", "4"), ("--output", "@/out")]),
    ("models", &[]),
    // One run serves all: a run takes seconds.
    (
        "bench",
        &[
            ("--arch", "ViT-B-32"),
            ("--views", "1"),
            ("--precision", "bf16"),
            ("--threads", "1"),
            ("--device", "cpu"),
            ("--format", "json"),
        ],
    ),
];

const ROWS: &[Row] = &[
    ("classify", "IMG|-", &[("", "@/pictures/a.png")], Differs),
    ("classify", "--recursive", &[("", "@/pictures"), ("--recursive", "")], Says("b.png")),
    ("classify", "--model", &[("--model", "@/open_clip")], Differs),
    ("classify", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("classify", "--precision", &[("--precision", "bf16")], Differs),
    ("classify", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("classify", "--text-cleaning", &[("--text-cleaning", "openai")], Differs),
    ("classify", "--activation", &[("--activation", "gelu")], Differs),
    ("classify", "--classifier", &[("--classifier", "@/classifier"), ("--prompts", "-")], Differs),
    ("classify", "--prompts", &[("--prompts", "@/other.json")], Differs),
    ("classify", "--labels", &[("--labels", "dog")], Differs),
    ("classify", "--method", &[("--method", "clip")], Says("\"method\":\"clip\"")),
    ("classify", "--method", &[("--method", "cupl")], Says("\"method\":\"cupl\"")),
    ("classify", "--method", &[("--method", "wca")], Same),
    (
        "classify",
        "--method",
        &[("--method", "clip-e"), ("--prompts", "@/templates.json"), ("--labels", "cat,dog")],
        Says("\"method\":\"clip-e\""),
    ),
    ("classify", "--score", &[("--score", "paper")], Says("\"score\":\"paper\"")),
    ("classify", "--score", &[("--score", "official")], Same),
    ("classify", "--reduction", &[("--reduction", "max"), ("--score", "paper")], Says("\"reduction\":\"max\"")),
    ("classify", "--reduction", &[("--reduction", "best:2"), ("--method", "cupl")], Says("\"reduction\":\"best:2\"")),
    ("classify", "--reduction", &[("--reduction", "mean")], Same),
    ("classify", "--reduction", &[("--reduction", "max")], Fails("expected paper with the reduction max")),
    ("classify", "--reduction", &[("--reduction", "median")], Fails("best:K")),
    ("classify", "--image-scale", &[("--image-scale", "-1")], Differs),
    ("classify", "--image-scale", &[("--image-scale", "4")], Same),
    ("classify", "--text-scale", &[("--text-scale", "5")], Differs),
    ("classify", "--text-scale", &[("--text-scale", "2")], Same),
    ("classify", "--template", &[("--template", "the {}")], Differs),
    ("classify", "--template", &[("--template", "a photo of a {}.")], Same),
    ("classify", "--views", &[("--views", "5")], Differs),
    ("classify", "--alpha", &[("--alpha", "0.2")], Differs),
    ("classify", "--alpha", &[("--alpha", "0.5")], Same),
    ("classify", "--beta", &[("--beta", "1")], Differs),
    ("classify", "--beta", &[("--beta", "0.9")], Same),
    ("classify", "--seed", &[("--seed", "1")], Differs),
    ("classify", "--seed", &[("--seed", "0")], Same),
    ("classify", "--boxes", &[("--boxes", "@/boxes.json")], Says("\"box\":[1,2,9,8]")),
    ("classify", "--no-exif-rotation", &[("--no-exif-rotation", "")], Differs),
    ("classify", "--max-pixels", &[("--max-pixels", "99")], Fails("48×32 pixels")),
    ("classify", "--top", &[("--top", "1")], Differs),
    ("classify", "--format", &[("--format", "text")], Says("  cat\n")),
    ("compile", "--model", &[("--model", "@/open_clip")], Differs),
    ("compile", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("compile", "--precision", &[("--precision", "bf16")], Differs),
    ("compile", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("compile", "--text-cleaning", &[("--text-cleaning", "openai")], Differs),
    ("compile", "--activation", &[("--activation", "gelu")], Differs),
    ("compile", "--prompts", &[("--prompts", "@/other.json")], Differs),
    ("compile", "--labels", &[("--labels", "dog,cat")], Says("[\"dog\", \"cat\"]")),
    ("compile", "--method", &[("--method", "cupl")], Says("method: Cupl")),
    ("compile", "--score", &[("--score", "paper")], Says("score: Paper")),
    ("compile", "--reduction", &[("--reduction", "best:1"), ("--score", "paper")], Says("reduction: BestMean(1)")),
    ("compile", "--keep-texts", &[("--keep-texts", "")], Says("\"whiskers\"")),
    ("compile", "--image-scale", &[("--image-scale", "1.5")], Says("image_scale: 1.5")),
    ("compile", "--text-scale", &[("--text-scale", "-1.5")], Says("text_scale: -1.5")),
    ("compile", "--template", &[("--template", "the {}")], Says("template: \"the {}\"")),
    ("compile", "--output", &[("--output", "@/elsewhere")], Same),
    ("embed", "--model", &[("--model", "@/open_clip")], Differs),
    ("embed", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("embed", "--precision", &[("--precision", "bf16")], Differs),
    ("embed", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("embed", "--text-cleaning", &[("--text-cleaning", "openai")], Differs),
    ("embed", "--activation", &[("--activation", "gelu")], Differs),
    ("embed", "--image", &[("--image", "@/pictures/a.png")], Differs),
    ("embed", "--recursive", &[("--image", "@/pictures"), ("--recursive", "")], Differs),
    ("embed", "--boxes", &[("--boxes", "@/boxes.json")], Differs),
    ("embed", "--texts", &[("--texts", "-")], Differs),
    ("embed", "--raw", &[("--raw", "")], Differs),
    ("embed", "--no-exif-rotation", &[("--no-exif-rotation", "")], Differs),
    ("embed", "--max-pixels", &[("--max-pixels", "99")], Fails("48×32 pixels")),
    ("embed", "--output", &[("--output", "@/elsewhere")], Same),
    ("evaluate", "DATA", &[("", "@/list.csv")], Says("\"pictures\":1")),
    ("evaluate", "--model", &[("--model", "@/open_clip")], Differs),
    ("evaluate", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("evaluate", "--precision", &[("--precision", "bf16")], Differs),
    ("evaluate", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("evaluate", "--text-cleaning", &[("--text-cleaning", "openai")], Differs),
    ("evaluate", "--activation", &[("--activation", "gelu")], Differs),
    ("evaluate", "--prompts", &[("--prompts", "@/other.json")], Differs),
    ("evaluate", "--labels", &[("--labels", "dog,sky,cat")], Differs),
    ("evaluate", "--score", &[("--score", "paper")], Says("\"score\":\"paper\"")),
    ("evaluate", "--reduction", &[("--reduction", "max"), ("--score", "paper")], Says("\"reduction\":\"max\"")),
    ("evaluate", "--reduction", &[("--reduction", "max")], Fails("expected paper with the reduction max")),
    ("evaluate", "--image-scale", &[("--image-scale", "1.5")], Says("\"image_scale\":1.5")),
    ("evaluate", "--text-scale", &[("--text-scale", "1.5")], Says("\"text_scale\":1.5")),
    ("evaluate", "--template", &[("--template", "the {}")], Says("\"template\":\"the {}\"")),
    ("evaluate", "--templates", &[("--templates", "@/templates.json")], Says("\"method\":\"clip-e\"")),
    ("evaluate", "--views", &[("--views", "5")], Says("\"views\":5")),
    ("evaluate", "--alpha", &[("--alpha", "0.25")], Says("\"alpha\":0.25")),
    ("evaluate", "--beta", &[("--beta", "0.75")], Says("\"beta\":0.75")),
    ("evaluate", "--seed", &[("--seed", "7")], Says("\"seeds\":[7]")),
    ("evaluate", "--seeds", &[("--seeds", "2")], Says("\"seeds\":[0,1]")),
    ("evaluate", "--no-exif-rotation", &[("--no-exif-rotation", "")], Says("\"exif_rotation\":false")),
    ("evaluate", "--max-pixels", &[("--max-pixels", "99")], Fails("48×32 pixels")),
    ("evaluate", "--resume", &[("--resume", "@/begun.jsonl")], Says("\"resumed\":2")),
    ("evaluate", "--format", &[("--format", "text")], Says("2 pictures of 3 classes")),
    ("explain", "IMG|-", &[("", "@/pictures/a.png")], Differs),
    ("explain", "--class", &[("--class", "dog")], Says("\"class\":\"dog\"")),
    ("explain", "--model", &[("--model", "@/open_clip")], Differs),
    ("explain", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("explain", "--precision", &[("--precision", "bf16")], Differs),
    ("explain", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("explain", "--text-cleaning", &[("--text-cleaning", "openai")], Differs),
    ("explain", "--activation", &[("--activation", "gelu")], Differs),
    ("explain", "--prompts", &[("--prompts", "@/other.json")], Differs),
    ("explain", "--labels", &[("--labels", "dog")], Fails("class")),
    ("explain", "--classifier", &[("--classifier", "@/texts"), ("--prompts", "-")], Differs),
    ("explain", "--classifier", &[("--classifier", "@/classifier"), ("--prompts", "-")], Fails("--keep-texts")),
    ("explain", "--reduction", &[("--reduction", "best:2")], Says("\"reduction\":\"best:2\"")),
    ("explain", "--image-scale", &[("--image-scale", "-1")], Differs),
    ("explain", "--text-scale", &[("--text-scale", "5")], Differs),
    ("explain", "--template", &[("--template", "the {}")], Differs),
    ("explain", "--views", &[("--views", "5")], Differs),
    ("explain", "--alpha", &[("--alpha", "0.2")], Differs),
    ("explain", "--beta", &[("--beta", "1")], Differs),
    ("explain", "--seed", &[("--seed", "1")], Differs),
    ("explain", "--boxes", &[("--boxes", "@/boxes.json")], Says("\"box\":[1,2,9,8]")),
    ("explain", "--no-exif-rotation", &[("--no-exif-rotation", "")], Differs),
    ("explain", "--max-pixels", &[("--max-pixels", "99")], Fails("48×32 pixels")),
    ("explain", "--top", &[("--top", "1")], Differs),
    ("explain", "--format", &[("--format", "text")], Says("cyan outline")),
    ("explain", "--output", &[("--output", "@/elsewhere")], Same),
    ("views", "IMG|-", &[("", "@/pictures/a.png")], Differs),
    ("views", "--model", &[("--model", "@/model"), ("--size", "-")], Says("[5,24,24,3]")),
    ("views", "--size", &[("--size", "9")], Says("[5,9,9,3]")),
    ("views", "--views", &[("--views", "5")], Says("[6,8,8,3]")),
    ("views", "--alpha", &[("--alpha", "0.2")], Differs),
    ("views", "--beta", &[("--beta", "1")], Differs),
    ("views", "--seed", &[("--seed", "1")], Differs),
    ("views", "--boxes", &[("--boxes", "@/boxes.json")], Says("[2,8,8,3]")),
    ("views", "--no-exif-rotation", &[("--no-exif-rotation", "")], Differs),
    ("views", "--max-pixels", &[("--max-pixels", "99")], Fails("48×32 pixels")),
    ("views", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("views", "--threads", &[("--device", "cpu"), ("--threads", "77777")], Fails("threads: found 77777")),
    ("views", "--output", &[("--output", "@/sheet.png")], Says("PNG")),
    // What is in the cache is the machine's; tests/hub has its own.
    ("models", "--format", &[("--format", "nothing")], Fails("nothing")),
    ("bench", "--arch", &[], Says("\"arch\":\"ViT-B-32\"")),
    ("bench", "--views", &[], Says("\"views\":1,")),
    ("bench", "--precision", &[], Says("\"precision\":\"bf16\"")),
    ("bench", "--threads", &[], Says("\"threads\":1,")),
    ("bench", "--device", &[("--device", "nowhere")], Fails("nowhere")),
    ("bench", "--format", &[], Says("\"seconds_median\":")),
];

/// The folder of the usual arguments.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("prompts.json", r#"{"cat": ["fur &amp; claws", "whiskers", "fur"], "dog": ["a wet nose", "a tail"], "sky": ["stars", "clouds"]}"#);
    folder.write("other.json", r#"{"cat": ["a cat"], "dog": ["a dog"], "sky": ["a sky"]}"#);
    folder.write("templates.json", r#"["a {}", "the {}"]"#);
    folder.write("texts.json", r#"["a cat &amp; a dog", "a dog"]"#);
    folder.write("boxes.json", "[[1, 2, 9, 8]]");
    folder.write("list.csv", "turned.jpg,cat\n");
    folder.write("turned.jpg", super::common::turned_jpeg());
    for path in ["pictures/below", "data/cat", "data/sky"] {
        std::fs::create_dir_all(folder.path(path)).unwrap();
    }
    for (from, to) in
        [("tiny", "pictures/a.png"), ("portrait", "pictures/below/b.png"), ("landscape", "data/sky/a.png")]
    {
        std::fs::copy(golden(&format!("pictures/{from}.png")), folder.path(to)).unwrap();
    }
    std::fs::copy(folder.path("turned.jpg"), folder.path("data/cat/turned.jpg")).unwrap();
    for (golden, name) in [("transformers", "model"), ("open_clip", "open_clip")] {
        std::fs::rename(folder.model(golden), folder.path(name)).unwrap();
    }
    folder
}

/// Runs a command with its usual arguments changed: what it prints and writes, or what it says of its failure.
fn run(folder: &Folder, name: &str, changes: &[(&str, &str)]) -> Result<String, String> {
    let (_, usual) = USUAL.iter().find(|(command, _)| *command == name).unwrap();
    let changed = |argument: &str| changes.iter().any(|(other, _)| *other == argument);
    let arguments = usual.iter().filter(|(argument, _)| !changed(argument)).chain(changes);
    let (mut args, mut output) = (vec![name.to_string()], None);
    for (argument, value) in arguments.filter(|(_, value)| *value != "-") {
        let value = value.replace('@', folder.path("").trim_end_matches('/'));
        args.extend([argument.to_string(), value.clone()].into_iter().filter(|part| !part.is_empty()));
        if *argument == "--output" {
            output = Some(value);
        }
    }
    let result = command(&args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
    if !result.status.success() {
        return Err(String::from_utf8_lossy(&result.stderr).into());
    }
    let printed = String::from_utf8(result.stdout).unwrap();
    let Some(output) = output else { return Ok(printed) };
    let written = std::fs::read(&output).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    std::fs::remove_file(&output).unwrap();
    Ok(printed + &describe(name, &written))
}

/// A file as text that is the same for the same content.
fn describe(command: &str, file: &[u8]) -> String {
    let hash = xxhash_rust::xxh3::xxh3_128(file);
    if command == "compile" {
        return format!("{hash:032x} {:?}", CompiledClassifier::from_bytes(file).unwrap());
    }
    format!("{hash:032x} {}", String::from_utf8_lossy(&file[..file.len().min(200)]))
}

#[test]
fn every_option_has_an_effect() {
    let folder = folder();
    let [model, prompts, file, texts] = ["model", "prompts.json", "classifier", "texts"].map(|name| folder.path(name));
    let compile = ["compile", "--model", &model, "--prompts", &prompts, "--image-scale", "0", "-o"];
    super::succeeds(&[&compile[..], &[&file]].concat());
    super::succeeds(&[&compile[..], &[&texts, "--keep-texts"]].concat());
    run(&folder, "evaluate", &[("--resume", "@/begun.jsonl")]).unwrap();
    for (name, _) in USUAL.iter().filter(|(name, _)| *name != "bench") {
        let usual = run(&folder, name, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(run(&folder, name, &[]).as_ref(), Ok(&usual), "{name}: not the same twice");
        check_rows(&folder, name, &usual);
    }
}

#[test]
fn every_option_of_bench_has_an_effect() {
    let folder = Folder::new();
    let usual = run(&folder, "bench", &[]).unwrap();
    check_rows(&folder, "bench", &usual);
    let line: serde_json::Value = serde_json::from_str(&usual).unwrap();
    for field in ["seconds_median", "views_per_s", "gflop_per_s"] {
        assert!(line[field].as_f64().unwrap() > 0.0, "{field}");
    }
}

/// Whether each option of a command has its effect, beside what the command gives without it.
#[track_caller]
fn check_rows(folder: &Folder, command: &str, usual: &str) {
    for (_, option, changes, effect) in ROWS.iter().filter(|(name, ..)| *name == command) {
        let what = format!("{command} {option} {changes:?}");
        let result = if changes.is_empty() { Ok(usual.to_string()) } else { run(folder, command, changes) };
        match (effect, result) {
            (Fails(words), Err(message)) => assert!(message.contains(words), "{what}: {message}"),
            (Fails(_), Ok(text)) => panic!("{what}: succeeds: {text}"),
            (_, Err(message)) => panic!("{what}: {message}"),
            (Says(words), Ok(text)) => {
                assert!(text.contains(words), "{what}: {text}");
                assert!(changes.is_empty() || !usual.contains(words), "{what}: said anyway");
            }
            (Differs, Ok(text)) => assert!(text != usual, "{what}: no effect"),
            (Same, Ok(text)) => assert!(text == usual, "{what}: {text}, not {usual}"),
        }
    }
}

/// The options that `--help` lists, each at the start of its line, and the arguments without a name.
fn listed(name: &str) -> BTreeSet<String> {
    let output = command(&[name, "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let (_, help) = help.split_once("Usage:").unwrap();
    let option = |line: &str| {
        let line = line.strip_prefix("  ")?;
        let long = line.trim_start().trim_start_matches("-o, ").trim_start_matches("-h, ");
        let name: String = long.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if line.trim_start().starts_with('-') && name.starts_with("--") {
            return Some(name);
        }
        // An argument's line is not indented further; what it does is.
        let argument = line.strip_prefix(['<', '['])?;
        argument.split(['>', ']']).next().map(String::from)
    };
    help.lines().filter_map(option).filter(|option| option != "--help").collect()
}

#[test]
fn every_option_has_a_row() {
    let commands: BTreeSet<&str> = USUAL.iter().map(|(name, _)| *name).collect();
    let output = command(&["--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let all = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let all: BTreeSet<&str> = all.map(|line| line.split_whitespace().next().unwrap()).collect();
    let without_options = BTreeSet::from(["devices", "help"]);
    assert_eq!(all, commands.union(&without_options).copied().collect());
    assert_eq!(listed("devices"), BTreeSet::new());
    for name in commands {
        let rows: BTreeSet<String> =
            ROWS.iter().filter(|(command, ..)| *command == name).map(|(_, option, ..)| option.to_string()).collect();
        assert_eq!(listed(name), rows, "{name}");
    }
}
