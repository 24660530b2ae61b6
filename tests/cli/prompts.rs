//! Prompts, labels and texts: their forms, and what is refused.

use super::{Folder, check_failure, command, crossalign, fails, golden, succeeds};

#[test]
fn templates_and_labels() {
    let folder = Folder::new();
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    let templates = folder.write("templates.json", r#"["a drawing of a {}.", "the {} in the {}"]"#);
    let labels = folder.write("labels.json", r#"["cat", "dog"]"#);
    let run = |labels: &str, method| {
        succeeds(&[
            "classify",
            &picture,
            "--model",
            &model,
            "--prompts",
            &templates,
            "--labels",
            labels,
            "--method",
            method,
        ])
    };
    assert_eq!(run("cat, dog", "clip-e"), run(&labels, "clip-e"));
    assert!(run("cat,dog", "wca").contains("dog"));
    let clip = ["classify", &picture, "--model", &model, "--labels", "a,b,c,d,e,f", "--method", "clip"];
    assert_eq!(succeeds(&clip).lines().count(), 6, "the picture's line and the top 5");
    assert_eq!(succeeds(&[&clip[..], &["--top", "all"]].concat()).lines().count(), 7);

    let classify = ["classify", &picture, "--model", &model, "--prompts", &templates];
    fails(&classify, &["templates.json", "labels"]);
    fails(&[&classify[..], &["--labels", "cat,cat"]].concat(), &["\"cat\" twice"]);
    fails(&[&classify[..], &["--labels", "cat,,dog"]].concat(), &["class name"]);
    fails(&[&classify[..], &["--labels", "missing.json"]].concat(), &["missing.json"]);
    let described = folder.write("described.json", r#"{"cat": ["fur"], "dog": ["a tail"]}"#);
    let classify = ["classify", &picture, "--model", &model, "--prompts", &described];
    assert_eq!(succeeds(&[&classify[..], &["--labels", "dog"]].concat()).lines().count(), 2);
    fails(&[&classify[..], &["--labels", "bird"]].concat(), &["described.json", "\"bird\""]);
    fails(&[&classify[..], &["--method", "clip-e"]].concat(), &["templates"]);
}

#[test]
fn long_texts_are_cut_with_one_warning() {
    let folder = Folder::new();
    let long = "striped ".repeat(200);
    let prompts = folder.write("prompts.json", format!(r#"{{"a": ["{long}", "{long}", "short"]}}"#));
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    let output = crossalign(&["classify", &picture, "--model", &model, "--prompts", &prompts]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success());
    assert!(stderr.lines().count() == 1 && stderr.contains("2 texts"), "{stderr}");
}

#[test]
fn bad_prompts_are_named() {
    let (folder, picture) = (Folder::new(), golden("pictures/tiny.png"));
    let model = golden("models/transformers");
    let cases = [
        ("", "prompts"),
        ("{}", "no classes"),
        ("[]", "empty list"),
        (r#"{"cat": []}"#, "\"cat\""),
        (r#"{"cat": ["a", 3]}"#, "integer"),
        (r#"{"cat": 3}"#, "integer"),
        (r#"{"cat": ["a"], "cat": ["b"]}"#, "\"cat\" twice"),
        (r#"{"": ["a"]}"#, "class name"),
        ("[1]", "integer"),
        ("7", "prompts"),
        ("{\"cat\": [\"a\"", "EOF"),
    ];
    for (content, word) in cases {
        let prompts = folder.write("prompts.json", content);
        let args = ["classify", &picture, "--model", &model, "--prompts", &prompts, "--labels", "cat"];
        let args = if content.starts_with('[') { &args[..] } else { &args[..6] };
        fails(args, &["prompts.json", word]);
    }
    fails(&["classify", &picture, "--model", &model, "--prompts", "missing.json"], &["missing.json"]);
    let prompts = folder.write("prompts.json", r#"{"cat": ["a"]}"#);
    let classify = ["classify", &picture, "--model", &model, "--prompts", &prompts];
    for (option, value, word) in [
        ("--template", "a photo", "template"),
        ("--image-scale", "99", "image scale"),
        ("--text-scale", "nan", "text scale"),
        ("--alpha", "0", "α"),
        ("--beta", "0.4", "β"),
        ("--views", "0", "views"),
        ("--device", "wgpu:99", "wgpu:99"),
        ("--device", "cuda:99", "cuda"),
        ("--device", "gpu", "device"),
        ("--device", "cpu:1", "device"),
    ] {
        fails(&[&classify[..], &[option, value]].concat(), &[word]);
    }
    fails(&["classify", &picture, "--model", &model], &["prompts"]);
}

/// The classes that `classify` prints, with what it says of the picture taken off.
#[track_caller]
fn scores(args: &[&str]) -> String {
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    succeeds(&[&["classify", &picture, "--model", &model, "--top", "all", "--views", "3"], args].concat())
}

#[test]
fn labels_come_in_many_forms() {
    let folder = Folder::new();
    let expected = scores(&["--method", "clip", "--labels", "cat,night sky,dog"]);
    assert_eq!(expected.lines().count(), 4);
    for (name, content) in [
        ("a.txt", "cat\nnight sky\ndog\n"),
        ("b.txt", "cat\r\nnight sky\r\n\r\n  dog  "),
        ("c.txt", "\u{feff}\ncat\n\t\nnight sky\ndog"),
        ("d.json", r#"["cat", "night sky", "dog"]"#),
        ("e.json", "\u{feff} [\"cat\", \"night sky\", \"dog\"]\r\n"),
        ("f.csv", "cat\nnight sky\ndog\n"),
        ("classes", "cat\nnight sky\ndog\n"),
        ("g.txt", r#"["cat", "night sky", "dog"]"#),
    ] {
        let labels = folder.write(name, content);
        assert_eq!(scores(&["--method", "clip", "--labels", &labels]), expected, "{name}");
    }
    // A comma in a line belongs to the class, a slash or a dot in a list to the name.
    let names = folder.write("names.txt", "tench, Tinca tinca\ngoldfish\n");
    assert!(scores(&["--method", "clip", "--labels", &names]).contains("tench, Tinca tinca\n"));
    let list = scores(&["--method", "clip", "--labels", "road/highway,St. Bernard,v2.5"]);
    assert!(["road/highway", "St. Bernard", "v2.5"].iter().all(|class| list.contains(class)), "{list}");
}

/// Of a path it is the file that is missing, of a list it is what is read next.
#[test]
fn paths_are_told_from_lists() {
    let folder = Folder::new();
    let missing = |labels: &str, file: &str| {
        let args = ["classify", "a.png", "--prompts", "prompts.json", "--labels", labels];
        let output = command(&args).current_dir(&folder.0).output().unwrap();
        check_failure(&output, &args, &[&format!("crossalign: {file}: no such file")]);
    };
    for path in ["a.txt", "a.JSON", "labels/a", "./a", "/a,b", "../a,b", "a,b.txt", "cat, dog.csv", "a.names"] {
        missing(path, path);
    }
    for list in ["cat", "cat,dog", "St. Bernard", "python,Node.js", ".NET,C", "road/highway,sea", "v2.5", "U.S.A", ""] {
        missing(list, "prompts.json");
    }
}

#[test]
fn bad_labels_are_named() {
    let folder = Folder::new();
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    let classify = ["classify", &picture, "--model", &model, "--method", "clip", "--labels"];
    // What looks like a path must be there.
    for missing in
        ["clases.txt", "labels.JSON", "a.csv", "lists/classes", "./classes", "cat,dog.txt", "/no,where", "a.names"]
    {
        fails(&[&classify[..], &[missing]].concat(), &[missing, "no such file"]);
    }
    fails(&[&classify[..], &[&folder.path("")]].concat(), &[&folder.path("")]);
    let utf16: Vec<u8> = "\u{feff}cat\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&str, &[u8], &str); 10] = [
        ("a.txt", &utf16, "UTF-16"),
        ("a.txt", &utf16[2..], "UTF-16"),
        ("a.txt", b"caf\xe9\n", "UTF-8"),
        ("a.txt", b"cat, dog\n", "one class a line"),
        ("a.txt", b"", "no classes"),
        ("a.txt", b"cat\ndog\ncat\n", "\"cat\" twice"),
        ("a.txt", b"{\"cat\": [\"a\"]}", "map"),
        ("a.json", b"[\"cat\", 3]", "integer"),
        ("a.json", b"cat\ndog\n", "no JSON list"),
        ("a.csv", b"1,cat\n2,dog\n", "several columns"),
    ];
    for (name, content, word) in cases {
        let labels = folder.write(name, content);
        // Classes in themselves, without the file's name, are wrong in the same way from any source.
        let name = if word.contains("twice") || word == "no classes" { "class" } else { name };
        fails(&[&classify[..], &[&labels]].concat(), &[name, word]);
    }
}

#[test]
fn prompts_come_in_many_forms() {
    let folder = Folder::new();
    let flat = folder.write("flat.json", r#"{"cat": ["fur", "a tail", "claws"], "dog": ["a wet nose"]}"#);
    let run = |prompts: &str| ["wca", "cupl"].map(|method| scores(&["--prompts", prompts, "--method", method]));
    let expected = run(&flat);
    for (name, content) in [
        ("mark.json", "\u{feff}{\"cat\": [\"fur\", \"a tail\", \"claws\"], \"dog\": [\"a wet nose\"]}"),
        ("one.json", r#"{"cat": ["fur", "a tail", "claws"], "dog": "a wet nose"}"#),
        // As CuPL's, by what the language model was asked.
        (
            "nested.json",
            r#"{"cat": {"Describe a cat": ["fur", "a tail"], "What is a cat?": ["claws"]},
                "dog": {"Describe a dog": ["a wet nose"], "What is a dog?": []}}"#,
        ),
        (
            "mixed.json",
            "\u{feff}{\"cat\": {\"b\": \"fur\", \"a\": [\"a tail\", \"claws\"]},\r\n\"dog\": \"a wet nose\"}\r\n",
        ),
    ] {
        assert_eq!(run(&folder.write(name, content)), expected, "{name}");
    }
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    for (content, words) in [
        (&br#"{"cat": {"a": {"b": ["fur"]}}}"#[..], ["map", "descriptions"]),
        (br#"{"cat": {"a": [1]}}"#, ["integer", "string"]),
        (br#"{"cat": {"a": 1}}"#, ["integer", "descriptions"]),
        (br#"{"cat": null}"#, ["null", "descriptions"]),
        (br#"{"cat": {}}"#, ["\"cat\"", "no descriptions"]),
        (br#"{"cat": {"a": []}}"#, ["\"cat\"", "no descriptions"]),
        (br#"{"cat": "a", "cat": {"a": "b"}}"#, ["\"cat\" twice", "once"]),
        (b"\xff\xfe{\0}\0", ["UTF-16", "UTF-8"]),
        (b"{\"cat\": \"\xe9\"}", ["index 9", "UTF-8"]),
    ] {
        let prompts = folder.write("prompts.json", content);
        let words = ["prompts.json: ", words[0], words[1]];
        fails(&["classify", &picture, "--model", &model, "--prompts", &prompts], &words);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let folder = Folder::new();
    let marked = |name: &str, content: &str| folder.write(name, format!("\u{feff}{content}"));
    let boxes = marked("boxes.json", "[[0, 0, 2, 2]]");
    let texts = marked("texts.json", r#"["a cat"]"#);
    let (picture, model) = (golden("pictures/tiny.png"), golden("models/transformers"));
    let out = folder.path("out.safetensors");
    succeeds(&["embed", "--model", &model, "--image", &picture, "--boxes", &boxes, "--texts", &texts, "-o", &out]);
    assert!(scores(&["--labels", "cat", "--method", "clip", "--boxes", &boxes]).contains("cat"));
    let utf16: Vec<u8> = "\u{feff}[]".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for option in ["--boxes", "--texts"] {
        let file = folder.write("wide.json", &utf16);
        let args = ["embed", "--model", &model, "--image", &picture, "-o", &out, option, &file];
        fails(&args, &["wide.json: text: found UTF-16"]);
        fails(&[&args[..8], &["no/such.json"]].concat(), &["no/such.json: no such file"]);
    }
}
