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
    assert_eq!((explanation.best(5), explanation.truncated()), (pairs[..5].to_vec(), 0));
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

/// The text has the lines that the JSON has entries, best first, and one line of equal descriptions.
#[test]
fn the_text_tells_what_json_tells() {
    let folder = Folder::new();
    std::fs::write(folder.path("prompts.json"), r#"{"cat": ["fur", "whiskers", "fur"]}"#).unwrap();
    let args = ["--class", "cat", "--views", "4", "--top", "99", "-o", "heat.png"];
    let text = stdout(folder.run("explain", &args));
    let json: Value =
        serde_json::from_str(&stdout(folder.run("explain", &[&args[..], &["--format", "json"]].concat()))).unwrap();
    let number = |entry: &Value, field: &str| entry[field].as_f64().unwrap();
    let list = |field: &str| json[field].as_array().unwrap().clone();
    let (views, texts, pairs) = (list("views"), list("descriptions"), list("pairs"));
    let view = |i: usize| {
        let [x, y, width, height] = [0, 1, 2, 3].map(|side| views[i]["box"][side].as_u64().unwrap());
        format!("{i:2}: {width}×{height} at {x},{y}")
    };
    let description = |j: usize| ["fur (×2)", "whiskers"][j].to_string();
    let best = |entries: &[Value]| {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|&a, &b| number(&entries[b], "contribution").total_cmp(&number(&entries[a], "contribution")));
        order
    };
    let parts = |entry: &Value| ["contribution", "weight", "similarity"].map(|field| number(entry, field));
    let mut expected = vec![format!("{}: cat: {:.4}", golden("pictures/landscape.png"), number(&json, "score"))];
    expected.extend(["", "contribution  weight  similarity  view"].map(String::from));
    for (i, outline) in best(&views).into_iter().zip([", cyan outline", ", white outline", ", green outline", ""]) {
        let [contribution, weight, similarity] = parts(&views[i]);
        expected.push(format!("{contribution:12.4}  {weight:6.4}  {similarity:10.4}  {}{outline}", view(i)));
    }
    expected.extend(["", "contribution  weight  similarity  description"].map(String::from));
    for j in best(&texts) {
        let [contribution, weight, similarity] = parts(&texts[j]);
        expected.push(format!("{contribution:12.4}  {weight:6.4}  {similarity:10.4}  {}", description(j)));
        // How well it fits the picture: its similarity with each view, by the views' weights.
        let fits = |pair: &&Value| pair["description"] == j;
        let weighted = |pair: &Value| {
            number(pair, "similarity") * number(&views[pair["view"].as_u64().unwrap() as usize], "weight")
        };
        assert!((pairs.iter().filter(fits).map(weighted).sum::<f64>() - similarity).abs() < 1e-6);
    }
    expected.extend(["", "contribution  similarity  view and description"].map(String::from));
    for pair in &pairs {
        let [i, j] = ["view", "description"].map(|field| pair[field].as_u64().unwrap() as usize);
        let (contribution, similarity) = (number(pair, "contribution"), number(pair, "similarity"));
        expected.push(format!("{contribution:12.4}  {similarity:10.4}  {}: {}", view(i), description(j)));
    }
    assert_eq!(pairs.len(), 8);
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

/// Whatever method and score the options name, it is the paper's form of WCA; and texts that lost their end are counted.
#[test]
fn only_one_form_is_explained() {
    let reference = Reference::golden();
    let model = load(&reference.root.join("models/transformers"), ModelOptions::default());
    let picture = reference.picture("landscape");
    let texts = ["fur", "whiskers", &"sky ".repeat(80)].map(String::from).to_vec();
    let class = Class { name: "cat".into(), descriptions: texts };
    let explain = |method, score| {
        let options = CompileOptions::default().with_method(method).with_score(score).with_reduction(Reduction::MAX);
        model.explain(&picture, &class, &Views::default(), &options).unwrap()
    };
    let expected = explain(Method::Wca, Score::Paper);
    assert_eq!((expected.truncated(), expected.merged().truncated(), expected.reduction()), (1, 1, Reduction::MAX));
    for (method, score) in
        [(Method::Wca, Score::Official), (Method::Clip, Score::Official), (Method::Cupl, Score::Paper)]
    {
        assert_eq!(explain(method, score), expected, "{method:?}, {score:?}");
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

/// Every pixel of the drawn map, from what the command prints of the views and from the bar's colours.
#[test]
fn the_heat_map_is_its_formula() {
    let folder = Folder::new();
    let class = Reference::golden().prompts().classes()[0].name.clone();
    let noise = image::RgbImage::from_raw(300, 600, common::noise(300, 600, 3)).unwrap();
    noise.save(folder.path("noise.png")).unwrap();
    // Among them boxes at the edges, and boxes without a centre of a cell or room for an outline.
    std::fs::write(folder.path("many.json"), "[[5,9,40,30], [60,10,41,54], [0,0,101,64], [20,30,7,9], [99,60,2,4]]")
        .unwrap();
    std::fs::write(folder.path("small.json"), "[[0,0,1,1], [299,599,1,1], [100,200,1,300], [50,60,200,2]]").unwrap();
    let landscape = golden("pictures/landscape.png");
    for (picture, views) in
        [(&*landscape, "--views=9"), (&*landscape, "--boxes=many.json"), ("noise.png", "--boxes=small.json")]
    {
        let args = [
            "explain",
            picture,
            "--prompts",
            "prompts.json",
            "--class",
            &class,
            "--format",
            "json",
            views,
            "-o",
            "heat.png",
        ];
        let mut crossalign = Command::new(env!("CARGO_BIN_EXE_crossalign"));
        crossalign.current_dir(folder.path("")).args(args).args(["--model", &golden("models/transformers")]);
        let explained: Value = serde_json::from_str(&stdout(crossalign.output().unwrap())).unwrap();
        let found = image::open(folder.path("heat.png")).unwrap().into_rgb8();
        let source = image::open(folder.path("").join(picture)).unwrap().into_rgb8();
        let (width, height) = (found.width(), found.height() - 16);
        for (at, colour) in
            [(0, [0, 0, 4]), (16, [5, 3, 20]), (48, [22, 9, 55]), (256, [188, 55, 84]), (511, [251, 253, 160])]
        {
            let bar = found.get_pixel(at * width / 512, height + 4).0;
            assert!(
                bar.iter().zip(colour).all(|(&a, b): (_, i32)| (i32::from(a) - b).abs() <= 4),
                "bar at {at}: {bar:?}"
            );
        }
        let expected = heat_map(&source, &explained, (width, height), &found);
        for (x, y, pixel) in expected.enumerate_pixels() {
            let [found, expected] = [found.get_pixel(x, y), pixel].map(|pixel| pixel.0.map(i32::from));
            let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 3);
            assert!(close, "{picture} {views}: at {x}, {y}: {found:?}, expected {expected:?}");
        }
        assert!((height..height + 4).all(|y| found.get_pixel(width / 2, y).0 == [0; 3]), "a gap");
    }
}

/// The map without its bar, whose colours are those of `drawn`.
fn heat_map(source: &image::RgbImage, explained: &Value, size: (u32, u32), drawn: &image::RgbImage) -> image::RgbImage {
    use std::f64::consts::PI;
    let views = explained["views"].as_array().unwrap();
    let number = |view: &Value, field: &str| view[field].as_f64().unwrap();
    let sides = |view: &Value, axis: usize| [axis, axis + 2].map(|i| view["box"][i].as_f64().unwrap());
    let picture = [source.width(), source.height()].map(f64::from);
    let longer = picture[0].max(picture[1]);
    let cells = picture.map(|side| (side * 128.0 / longer).round());
    let mean = views.iter().map(|view| number(view, "similarity")).sum::<f64>() / views.len() as f64;
    // How much of a view a cell gets along an axis.
    let share = |view: &Value, axis: usize, cell: usize| {
        let ([start, side], size) = (sides(view, axis), picture[axis] / cells[axis]);
        let place = |cell: usize| ((cell as f64 + 0.5) * size - start) / side;
        let inside = |cell: usize| place(cell) > 0.0 && place(cell) < 1.0;
        match (0..cells[axis] as usize).any(inside) {
            true if inside(cell) => (PI * place(cell)).sin().powi(2),
            true => 0.0,
            false => f64::from(cell == (start / size) as usize),
        }
    };
    let cell = |column: usize, row: usize| -> f64 {
        let evidence = |view: &Value| (number(view, "similarity") - mean).max(0.0);
        views.iter().map(|view| evidence(view) * share(view, 0, column) * share(view, 1, row)).sum()
    };
    let map: Vec<Vec<f64>> =
        (0..cells[1] as usize).map(|row| (0..cells[0] as usize).map(|column| cell(column, row)).collect()).collect();
    let least = map.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let most = map.iter().flatten().copied().fold(0.0, f64::max);
    let place = |at: u32, axis: usize| {
        let of = [size.0, size.1][axis];
        ((f64::from(at) + 0.5) / f64::from(of) * cells[axis] - 0.5).clamp(0.0, cells[axis] - 1.0)
    };
    let mut canvas = image::imageops::resize(source, size.0, size.1, image::imageops::FilterType::CatmullRom);
    for (x, y, pixel) in canvas.enumerate_pixels_mut() {
        let (u, v) = (place(x, 0), place(y, 1));
        let at = |row: usize| {
            let row = &map[row.min(map.len() - 1)];
            let (left, right) = (row[u as usize], row[(u as usize + 1).min(row.len() - 1)]);
            left + (right - left) * u.fract()
        };
        let (upper, lower) = (at(v as usize), at(v as usize + 1));
        let heat = (upper + (lower - upper) * v.fract() - least) / (most - least);
        let colour = drawn.get_pixel(((heat * f64::from(size.0)) as u32).min(size.0 - 1), size.1 + 4).0;
        let [r, g, b] = pixel.0.map(f64::from);
        let grey = 0.299 * r + 0.587 * g + 0.114 * b;
        let mix = |i: usize| {
            let paler = grey + (f64::from(pixel.0[i]) - grey) * (0.4 + 0.6 * heat);
            (paler * 0.55 + f64::from(colour[i]) * 0.45) as u8
        };
        pixel.0 = [mix(0), mix(1), mix(2)];
    }
    let mut best: Vec<&Value> = views.iter().collect();
    best.sort_by(|a, b| number(b, "contribution").total_cmp(&number(a, "contribution")));
    let outlines = [([0, 229, 255], 4), ([255; 3], 3), ([90, 240, 110], 3)];
    for (view, (colour, pen)) in best.into_iter().zip(outlines).rev() {
        let scale = f64::from(size.0.max(size.1)) / longer;
        let span = |axis: usize| {
            let [start, side] = sides(view, axis);
            let (start, end) = ((start * scale).round() as i64, ((start + side) * scale).round() as i64);
            let more = ((4 * (pen + 2) - (end - start)).max(0) + 1) / 2;
            ((start - more).max(0), (end + more).min(i64::from([size.0, size.1][axis])))
        };
        let ((left, right), (upper, lower)) = (span(0), span(1));
        for (x, y) in (upper..lower).flat_map(|y| (left..right).map(move |x| (x, y))) {
            let depth = (x - left).min(right - 1 - x).min(y - upper).min(lower - 1 - y);
            if depth <= pen + 1 {
                let edge = depth == 0 || depth == pen + 1;
                canvas.put_pixel(x as u32, y as u32, image::Rgb(if edge { [0; 3] } else { colour }));
            }
        }
    }
    canvas
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
        (&["--class", &class, "-o", "heat.png", "--views", "0"], &["crossalign: views: found 0"]),
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
