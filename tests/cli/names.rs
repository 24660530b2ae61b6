//! Names and texts with any characters come through files and JSON as they are.

use super::{Folder, crossalign, golden, succeeds};
use serde_json::{Value, json};

const NAMES: [&str; 9] = [
    r#"a "quoted" cat"#,
    r"back\slash\n",
    "two\nlines\r\n\tand a tab",
    "\u{1}\u{7f}",
    "😀 𝄞",
    "{}",
    "café, \u{2028}x",
    "cat",
    "'; drop",
];

fn prompts(folder: &Folder) -> String {
    let classes: serde_json::Map<String, Value> =
        NAMES.iter().enumerate().map(|(i, name)| (name.to_string(), json!([format!("{name} {i}")]))).collect();
    folder.write("prompts.json", Value::from(classes).to_string())
}

/// The one line of JSON that a command prints.
#[track_caller]
fn line(args: &[&str]) -> Value {
    let text = succeeds(args);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn classes_of_any_name() {
    let folder = Folder::new();
    let (prompts, model, file) = (prompts(&folder), golden("models/transformers"), folder.path("file"));
    let picture = folder.path("a \"picture\" 😀.png");
    std::fs::copy(golden("pictures/tiny.png"), &picture).unwrap();
    let common = ["--model", &model, "--format", "json"];
    let classify = [&["classify", &picture, "--views", "3", "--top", "all"], &common[..]].concat();
    let direct = line(&[&classify[..], &["--prompts", &prompts]].concat());
    let mut names: Vec<&str> =
        direct["predictions"].as_array().unwrap().iter().map(|p| p["class"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(direct["image"], *picture);
    succeeds(&["compile", "--model", &model, "--prompts", &prompts, "-o", &file]);
    assert_eq!(line(&[&classify[..], &["--classifier", &file]].concat()), direct);
    let labels = folder.write("labels.json", json!(NAMES).to_string());
    let labelled = line(&[&classify[..], &["--labels", &labels, "--method", "clip"]].concat());
    assert_eq!(labelled["predictions"].as_array().unwrap().len(), NAMES.len());

    for (i, name) in NAMES.iter().enumerate() {
        let args = ["explain", &picture, "--class", name, "--prompts", &prompts, "--views", "3", "-o", &file];
        let explained = line(&[&args[..], &common].concat());
        assert_eq!((&explained["class"], &explained["image"]), (&json!(name), &json!(picture)));
        assert_eq!(explained["descriptions"][0]["text"], format!("{name} {i}"));
    }
}

#[test]
fn an_evaluation_of_any_names() {
    let folder = Folder::new();
    let (prompts, model) = (prompts(&folder), golden("models/transformers"));
    std::fs::copy(golden("pictures/tiny.png"), folder.path("tiny.png")).unwrap();
    // Of a list, names lose the spaces around them, and so does none of these.
    let lines: String = NAMES.iter().map(|name| format!("tiny.png,\"{}\"\n", name.replace('"', "\"\""))).collect();
    let list = folder.write("a \"list\".csv", lines);
    let journal = folder.path("journal.jsonl");
    let args = ["evaluate", &list, "--model", &model, "--prompts", &prompts, "--views", "3", "--seeds", "1"];
    let args = [&args[..], &["--format", "json", "--resume", &journal]].concat();
    let first = line(&args);
    assert_eq!((&first["pictures"], &first["resumed"], &first["data"]), (&json!(9), &json!(0), &json!(list)));
    let second = line(&args);
    assert_eq!((&second["methods"], &second["resumed"]), (&first["methods"], &json!(9)));
    let text = std::fs::read_to_string(&journal).unwrap();
    let classes: Vec<String> = text
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["class"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(classes, NAMES);
    // As text it fails for no name, either.
    assert!(crossalign(&args[..args.len() - 4]).status.success());
}
