//! `crossalign explain` and its library side, with the golden models.

mod common;

use common::{Reference, load};
use crossalign::align::{Class, Explanation};
use crossalign::engine::Towers;
use crossalign::{CompileOptions, Method, ModelOptions, Reduction, Score, Views};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

fn golden(path: &str) -> String {
    Reference::golden().root.join(path).to_str().unwrap().to_string()
}

/// A folder with the golden prompts and a picture's boxes.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.path("prompts.json"), Reference::golden().prompts_json()).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `command` on the landscape picture with the golden prompts.
    fn run(&self, command: &str, args: &[&str]) -> Output {
        let mut crossalign = Command::new(env!("CARGO_BIN_EXE_crossalign"));
        crossalign.current_dir(self.0.path()).args([command, &golden("pictures/landscape.png")]);
        crossalign.args(["--model", &golden("models/transformers"), "--prompts", "prompts.json"]);
        crossalign.args(args).output().unwrap()
    }
}

#[track_caller]
fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn explain(class: &Class) -> Explanation {
    let reference = Reference::golden();
    let model = load(&reference.root.join("models/transformers"), ModelOptions::default());
    let picture = reference.picture("landscape");
    model.explain(&picture, class, &Views::default(), &CompileOptions::default()).unwrap()
}

#[test]
fn contributions_sum_to_the_paper_score() {
    for reduction in [Reduction::WeightedMean, Reduction::MAX, Reduction::BestMean(2), Reduction::BestMean(99)] {
        sums(&CompileOptions::default().with_score(Score::Paper).with_reduction(reduction));
    }
}

fn sums(options: &CompileOptions) {
    let reference = Reference::golden();
    let prompts = reference.prompts();
    for dir in reference.models() {
        let model = load(&dir, ModelOptions::default());
        let classifier = model.compile(&prompts, options).unwrap();
        for (name, boxes) in reference.pictures() {
            let (picture, views) = (reference.picture(&name), Views::Boxes(boxes));
            let result = &classifier.clone().with_views(views.clone()).classify_batch(&[&picture]).unwrap()[0];
            for (class, &score) in prompts.classes().iter().zip(result.scores()) {
                let explanation = model.explain(&picture, class, &views, options).unwrap();
                assert_eq!(explanation.views(), result.views());
                let sum: f32 = explanation.best(usize::MAX).iter().map(|pair| pair.contribution).sum();
                assert!((sum - score).abs() < 1e-5, "{}: {sum}, {score}", class.name);
                assert!((explanation.score() - score).abs() < 1e-5);
                check_shares(&explanation, options.reduction);
                assert_eq!(explanation.similarities().len(), explanation.views().len() * class.descriptions.len());
            }
        }
    }
}

/// The shares of a view sum to 1; the best descriptions have them in proportion to their weights, the others none.
fn check_shares(explanation: &Explanation, reduction: Reduction) {
    let texts = explanation.texts().len();
    let close = |a: f32, b: f32| assert!((a - b).abs() < 1e-5, "{a}, {b}");
    for view in 0..explanation.views().len() {
        let shares: Vec<f32> = (0..texts).map(|text| explanation.share(view, text)).collect();
        close(shares.iter().sum(), 1.0);
        let mut order: Vec<usize> = (0..texts).collect();
        order.sort_by(|&a, &b| explanation.similarity(view, b).total_cmp(&explanation.similarity(view, a)));
        let count = match reduction {
            Reduction::WeightedMean => texts,
            Reduction::BestMean(k) => k.min(texts),
        };
        let weight = |text: &usize| explanation.texts()[*text].weight;
        let total: f32 = order[..count].iter().map(weight).sum();
        order[..count].iter().for_each(|text| close(shares[*text], weight(text) / total));
        assert!(order[count..].iter().all(|&text| shares[text] == 0.0));
    }
    let parts: f32 = (0..texts).map(|text| explanation.text_contribution(text)).sum();
    close(parts, explanation.score());
    close(explanation.merged().score(), explanation.score());
    close(
        (0..explanation.merged().texts().len()).map(|text| explanation.merged().text_contribution(text)).sum(),
        parts,
    );
}

/// From a classifier that keeps its texts comes what the model makes of the prompts, without the text tower.
#[test]
fn a_classifier_explains_by_its_texts() {
    let reference = Reference::golden();
    let (dir, prompts) = (reference.root.join("models/transformers"), reference.prompts());
    let model = load(&dir, ModelOptions::default());
    let vision = load(&dir, ModelOptions::default().with_towers(Towers::Vision));
    let (picture, views) = (reference.picture("landscape"), Views::default());
    let paper = CompileOptions::default().with_score(Score::Paper).with_text_scale(3.0).with_template("the {}");
    for options in [
        paper.clone().with_keep_texts(true),
        paper.clone().with_keep_texts(true).with_score(Score::Official),
        paper.clone().with_reduction(Reduction::MAX),
        paper.clone().with_reduction(Reduction::BestMean(2)).with_keep_texts(true),
    ] {
        let compiled = model.compile_texts(&prompts, &options).unwrap();
        let classifier = vision.clone().into_classifier(compiled).unwrap();
        for class in prompts.classes() {
            let expected = model.explain(&picture, class, &views, &options).unwrap();
            assert_eq!(
                classifier.clone().with_views(views.clone()).explain(&picture, &class.name).unwrap(),
                expected,
                "{}: {options:?}",
                class.name
            );
        }
        let message =
            classifier.clone().with_views(views.clone()).explain(&picture, "no such class").unwrap_err().to_string();
        assert!(message.contains("class: found \"no such class\""), "{message}");
    }
    let refused = |options: CompileOptions| {
        let classifier = model.compile(&prompts, &options).unwrap();
        classifier
            .clone()
            .with_views(views.clone())
            .explain(&picture, &prompts.classes()[0].name)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(paper.clone()).contains("--keep-texts"));
    assert!(refused(paper.with_method(Method::Cupl).with_keep_texts(true)).contains("Wca"));
}

#[test]
fn the_command_explains_a_classifier() {
    let folder = Folder::new();
    let class = Reference::golden().prompts().classes()[0].name.clone();
    let crossalign = |args: &[&str]| {
        let model = golden("models/transformers");
        Command::new(env!("CARGO_BIN_EXE_crossalign"))
            .current_dir(folder.path(""))
            .args(args)
            .args(["--model", &model])
            .output()
            .unwrap()
    };
    let picture = golden("pictures/landscape.png");
    for more in [&["--score", "paper", "--reduction", "max"][..], &["--keep-texts"], &["--template", "the {}"]] {
        stdout(crossalign(&[&["compile", "--prompts", "prompts.json", "-o", "c.safetensors"], more].concat()));
        let explain = ["explain", &picture, "--class", &class, "--format", "json", "-o", "heat.png"];
        let found = crossalign(&[&explain[..], &["--classifier", "c.safetensors"]].concat());
        if more[0] == "--template" {
            let stderr = String::from_utf8_lossy(&found.stderr);
            assert!(found.status.code() == Some(1) && stderr.contains("c.safetensors: classifier"), "{stderr}");
            assert!(stderr.contains("--keep-texts"), "{stderr}");
            continue;
        }
        let more = if more[0] == "--keep-texts" { &[] } else { &more[2..] };
        let expected = crossalign(&[&explain[..], &["--prompts", "prompts.json"], more].concat());
        assert_eq!(stdout(found), stdout(expected), "{more:?}");
    }
    for chosen in [["--prompts", "prompts.json"], ["--reduction", "max"], ["--text-scale", "1"]] {
        let args = ["explain", &picture, "--class", &class, "-o", "heat.png", "--classifier", "c.safetensors"];
        assert_eq!(crossalign(&[&args[..], &chosen].concat()).status.code(), Some(2), "{chosen:?}");
    }
}

#[test]
fn the_best_come_first_and_ties_keep_their_order() {
    let texts = ["a cat", "fur", "a cat"].map(str::to_string).to_vec();
    let explanation = explain(&Class { name: "cat".into(), descriptions: texts });
    let pairs = explanation.best(usize::MAX);
    assert_eq!(explanation.best(5), pairs[..5]);
    assert!(pairs.is_sorted_by(|a, b| a.contribution > b.contribution
        || a.contribution == b.contribution && (a.view, a.text) < (b.view, b.text)));
    let views = explanation.best_views(usize::MAX);
    assert!(views.is_sorted_by(|&a, &b| explanation.view_contribution(a) >= explanation.view_contribution(b)));

    // Equal descriptions are columns of their own, and one only to show.
    assert_eq!(explanation.texts().len(), 3);
    let merged = explanation.merged();
    let counts: Vec<(&str, usize)> = merged.texts().iter().map(|text| (text.text.as_str(), text.count)).collect();
    assert_eq!(counts, [("a cat", 2), ("fur", 1)]);
    assert!((merged.score() - explanation.score()).abs() < 1e-6);
    assert!((merged.contribution(0, 0) - explanation.contribution(0, 0) - explanation.contribution(0, 2)).abs() < 1e-6);
    assert_eq!(merged.similarity(3, 1), explanation.similarity(3, 1));
}

#[test]
fn the_command_agrees_with_classify() {
    let folder = Folder::new();
    let scored =
        stdout(folder.run("classify", &["--views", "7", "--score", "paper", "--top", "all", "--format", "json"]));
    let scored: Value = serde_json::from_str(&scored).unwrap();
    for prediction in scored["predictions"].as_array().unwrap() {
        let class = prediction["class"].as_str().unwrap();
        let args = ["--views", "7", "--class", class, "--top", "2", "--format", "json", "-o", "heat.png"];
        let explained: Value = serde_json::from_str(&stdout(folder.run("explain", &args))).unwrap();
        let score = prediction["score"].as_f64().unwrap();
        assert_eq!(explained["class"], class);
        assert!((explained["score"].as_f64().unwrap() - score).abs() < 1e-5);
        for (field, part) in [("views", "box"), ("descriptions", "text"), ("pairs", "view")] {
            for entry in explained[field].as_array().unwrap() {
                assert!(!entry[part].is_null() && entry["similarity"].is_number(), "{field}: {entry}");
            }
        }
        for field in ["views", "descriptions"] {
            let entries = explained[field].as_array().unwrap();
            let sum = |part: &str| entries.iter().map(|entry| entry[part].as_f64().unwrap()).sum::<f64>();
            assert!((sum("contribution") - score).abs() < 1e-5 && (sum("weight") - 1.0).abs() < 1e-5, "{field}");
        }
        let boxes = |views: &Value| views.as_array().unwrap().iter().map(|v| v["box"].clone()).collect::<Vec<_>>();
        assert_eq!(boxes(&explained["views"]), boxes(&scored["views"]));
        assert_eq!(explained["pairs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn the_heat_map_is_drawn() {
    let folder = Folder::new();
    let class = Reference::golden().prompts().classes()[0].name.clone();
    let text = stdout(folder.run("explain", &["--class", &class, "--top", "3", "-o", "heat.png"]));
    assert!(text.contains(&class) && text.contains("cyan outline"), "{text}");
    // 101×64 enlarged to 512 on the longer side, a gap and the bar below.
    let heat = image::open(folder.path("heat.png")).unwrap().into_rgb8();
    assert_eq!(heat.dimensions(), (512, 324 + 16));
    let row = heat.rows().next_back().unwrap().copied().collect::<Vec<_>>();
    assert!(row[0].0.iter().all(|&c| c < 10) && row[511].0[0] > 240, "the bar goes from dark to bright");
    assert!(heat.pixels().any(|pixel| pixel.0 == [0, 229, 255]), "the best view is outlined");

    // Boxes of one pixel, at the corners; one view alone is neither better nor worse than the mean.
    for boxes in ["[[0, 0, 1, 1], [100, 63, 1, 1], [0, 0, 101, 64]]", "[[100, 0, 1, 64]]"] {
        std::fs::write(folder.path("boxes.json"), boxes).unwrap();
        stdout(folder.run("explain", &["--class", &class, "--boxes", "boxes.json", "-o", "heat.png"]));
        assert_eq!(image::open(folder.path("heat.png")).unwrap().into_rgb8().dimensions(), (512, 340));
    }
}

#[test]
fn pictures_of_any_shape_are_drawn() {
    let folder = Folder::new();
    let class = Reference::golden().prompts().classes()[0].name.clone();
    for (size, expected) in
        [((1, 1), (512, 512)), ((3000, 1), (1024, 1)), ((2, 900), (2, 900)), ((1500, 750), (1024, 512))]
    {
        let path = folder.path("picture.png");
        let pixels = common::noise(size.0, size.1, 1);
        image::RgbImage::from_raw(size.0, size.1, pixels).unwrap().save(&path).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_crossalign"))
            .current_dir(folder.path(""))
            .args(["explain", "picture.png", "--model", &golden("models/transformers"), "--prompts", "prompts.json"])
            .args(["--views", "4", "--class", &class, "-o", "heat.png"])
            .output()
            .unwrap();
        stdout(output);
        let heat = image::open(folder.path("heat.png")).unwrap();
        assert_eq!((heat.width(), heat.height()), (expected.0, expected.1 + 16));
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_left() {
    let folder = Folder::new();
    let class = Reference::golden().prompts().classes()[0].name.clone();
    std::fs::write(folder.path("outside.json"), "[[100, 0, 2, 1]]").unwrap();
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--class", "no such class", "-o", "heat.png"], &["class", "\"no such class\""]),
        (&["--class", &class, "-o", "missing/heat.png"], &["missing"]),
        (&["--class", &class, "-o", "heat.png", "--views", "0"], &["views"]),
        (&["--class", &class, "-o", "heat.png", "--boxes", "outside.json"], &["landscape.png", "box 0"]),
        (&["--class", &class, "-o", "heat.png", "--labels", "no such class"], &["prompts.json", "no such class"]),
    ];
    for (args, words) in cases {
        let output = folder.run("explain", args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(output.stdout.is_empty());
        for word in words {
            assert!(stderr.contains(word), "{stderr} does not say {word}");
        }
    }
    assert!(!folder.path("missing").exists() && !folder.path("heat.png").exists());
    for refused in [["--method", "clip"], ["--score", "official"]] {
        let args = [&["--class", &class, "-o", "heat.png"], &refused[..]].concat();
        assert_eq!(folder.run("explain", &args).status.code(), Some(2), "{refused:?}");
    }
    let empty = Class { name: "cat".into(), descriptions: Vec::new() };
    let reference = Reference::golden();
    let model = load(&reference.root.join("models/transformers"), ModelOptions::default());
    let found = model.explain(&reference.picture("tiny"), &empty, &Views::default(), &CompileOptions::default());
    assert!(found.unwrap_err().to_string().contains("\"cat\""));
    let bad = CompileOptions::default().with_text_scale(f32::NAN);
    let class = Class { name: "cat".into(), descriptions: vec!["fur".into()] };
    assert!(model.explain(&reference.picture("tiny"), &class, &Views::default(), &bad).is_err());
}
