//! Reductions over a class's descriptions, on every device, against their formulas in f64.

mod common;

use common::{Reference, assert_close, load};
use crossalign::align::{Class, Kept, Texts};
use crossalign::backend::Precision;
use crossalign::engine::{Embeddings, ModelOptions, Towers};
use crossalign::image::CropBox;
use crossalign::{CompileOptions, CompiledClassifier, Method, Model, Prompts, Reduction, Score, Views};

/// One, a few, as many as most classes have, and more than any has.
const REDUCTIONS: [Reduction; 6] = [
    Reduction::WeightedMean,
    Reduction::MAX,
    Reduction::BestMean(2),
    Reduction::BestMean(5),
    Reduction::BestMean(40),
    Reduction::BestMean(usize::MAX),
];

fn golden(device: &str, towers: Towers) -> Model {
    let options = ModelOptions::default()
        .with_device(device.parse().unwrap())
        .with_threads(2)
        .with_precision(Precision::F32)
        .with_towers(towers);
    load(&Reference::golden().root.join("models/transformers"), options)
}

fn options(method: Method, reduction: Reduction) -> CompileOptions {
    CompileOptions::default().with_method(method).with_score(Score::Paper).with_reduction(reduction)
}

/// Numbers from -1 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn unit_row(&mut self, width: usize) -> Vec<f32> {
        let row: Vec<f64> = (0..width).map(|_| self.next()).collect();
        let length = dot(&row, &row).sqrt();
        row.into_iter().map(|x| (x / length) as f32).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().copied().map(f64::from).collect()
}

/// Weights and similarities of a class's texts with a view, reduced.
fn reduce(reduction: Reduction, pairs: &[(f64, f64)]) -> f64 {
    let mean = |pairs: &[(f64, f64)]| pairs.iter().map(|(v, s)| v * s).sum::<f64>();
    match reduction {
        Reduction::WeightedMean => mean(pairs),
        Reduction::BestMean(k) => {
            let mut best = pairs.to_vec();
            best.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: of equal ones the lower index first
            best.truncate(k);
            mean(&best) / best.iter().map(|(v, _)| v).sum::<f64>()
        }
    }
}

/// `Σᵢ wᵢ · reduction` of each class; with `scale`, `w = softmax(scale f·f₀)` over the local views, else the global view alone.
fn scores(texts: &Texts, reduction: Reduction, views: &Embeddings, scale: Option<f64>) -> Vec<f32> {
    let view = |i| wide(views.row(i));
    let (seen, weights) = match scale {
        Some(scale) => {
            let powers: Vec<f64> = (1..views.len()).map(|i| (scale * dot(&view(i), &view(0))).exp()).collect();
            let sum: f64 = powers.iter().sum();
            ((1..views.len()).collect(), powers.into_iter().map(|power| power / sum).collect())
        }
        None => (vec![0], vec![1.0]),
    };
    let class = |bounds: &[u32]| {
        let of_view = |i: usize| {
            let pair = |j: usize| (f64::from(texts.weights[j]), dot(&view(i), &wide(texts.embeddings.row(j))));
            reduce(reduction, &(bounds[0] as usize..bounds[1] as usize).map(pair).collect::<Vec<_>>())
        };
        seen.iter().zip(&weights).map(|(&i, w)| w * of_view(i)).sum::<f64>() as f32
    };
    texts.offsets.windows(2).map(class).collect()
}

/// Classes of 1 to 40 texts, some of one, with repeated texts of other weights among them.
fn random_texts(random: &mut Random, width: usize) -> Texts {
    let (mut rows, mut weights, mut offsets): (Vec<Vec<f32>>, Vec<f32>, _) = (Vec::new(), Vec::new(), vec![0]);
    for count in [1, 3, 40, 1, 7, 2, 17, 5] {
        let first = rows.len();
        for j in 0..count {
            let row = if j % 3 == 2 { rows[first + j / 2].clone() } else { random.unit_row(width) };
            rows.push(row);
        }
        let shares: Vec<f64> = (0..count).map(|_| random.next().abs() + 0.01).collect();
        weights.extend(shares.iter().map(|share| (share / shares.iter().sum::<f64>()) as f32));
        offsets.push(rows.len() as u32);
    }
    let texts = (0..rows.len()).map(|j| format!("text {j}")).collect();
    Texts { texts, embeddings: Embeddings { width, data: rows.concat() }, weights, offsets }
}

fn ragged_classes(device: &str) {
    let model = golden(device, Towers::Vision);
    let (width, mut random) = (model.config().embed, Random(7));
    for method in [Method::Wca, Method::Cupl] {
        for reduction in REDUCTIONS {
            let texts = random_texts(&mut random, width);
            let rows = (0..1 + 9).flat_map(|_| random.unit_row(width)).collect();
            let (views, boxes) = (Embeddings { width, data: rows }, [CropBox::new(0, 0, 1, 1); 9]);
            let mut options = options(method, reduction).with_keep_texts(true);
            if reduction == Reduction::WeightedMean {
                options.method = Method::Wca; // cupl's mean is of unit length
            }
            let compiled = CompiledClassifier {
                options: options.clone(),
                classes: (1..texts.offsets.len()).map(|class| format!("class {class}")).collect(),
                kept: Kept::Texts(texts.clone()),
                model: model.fingerprint().into(),
                prompts: String::new(),
                truncated: 0,
            };
            let classifier = model.clone().into_classifier(compiled).unwrap();
            let found = classifier.score_views(&views, &boxes).unwrap();
            let scale = (options.method == Method::Wca).then_some(4f64.exp());
            let what = format!("{method:?} {reduction} on {device}");
            assert_close(found.scores(), &scores(&texts, reduction, &views, scale), 2e-6, &what);
        }
    }
}

/// Pictures of several sizes and numbers of views score together as they do alone, bit for bit.
fn several_pictures(device: &str) {
    let reference = Reference::golden();
    let model = golden(device, Towers::Both);
    let pictures: Vec<_> = reference.pictures().iter().map(|(name, _)| reference.picture(name)).collect();
    let pictures: Vec<_> = pictures.iter().collect();
    let views = Views::Sampled(crossalign::image::ViewSampling { count: 5, ..Default::default() });
    for method in [Method::Wca, Method::Cupl] {
        for reduction in [Reduction::MAX, Reduction::BestMean(3)] {
            let classifier =
                model.compile(&reference.prompts(), &options(method, reduction)).unwrap().with_views(views.clone());
            let together = classifier.classify_batch(&pictures).unwrap();
            for (picture, result) in pictures.iter().zip(together) {
                assert_eq!(classifier.classify_batch(&[picture]).unwrap()[0], result, "{reduction} on {device}");
            }
        }
    }
}

macro_rules! devices {
    ($($name:ident: $device:literal $(if $feature:literal and $has:ident)?;)+) => {
        $($(#[cfg(feature = $feature)])?
        mod $name {
            #[machine::has($($has)?)]
            #[test]
            fn ragged_classes() {
                super::prepare($device);
                super::ragged_classes($device);
            }

            #[machine::has($($has)?)]
            #[test]
            fn several_pictures() {
                super::prepare($device);
                super::several_pictures($device);
            }
        })+
    };
}

devices! {
    cpu: "cpu";
    reference: "reference";
    wgpu: "wgpu:0" if "wgpu" and vulkan;
    cuda: "cuda" if "cuda" and gxx;
}

fn prepare(_device: &str) {
    #[cfg(feature = "cuda")]
    if _device == "cuda" {
        common::cuda::load_driver();
    }
}

const DESCRIBED: &str =
    r#"{"cat": ["whiskers", "fur", "a tail", "fur", "fur"], "night sky": ["stars"], "dog": ["a wet nose", "a tail"]}"#;

/// From prompts to scores: what the texts of each method are, and their weights.
#[test]
fn every_method_reduces_its_texts() {
    let model = golden("cpu", Towers::Both);
    let described = Prompts::from_json(DESCRIBED).unwrap();
    let labels: Vec<String> = described.classes().iter().map(|class| class.name.clone()).collect();
    let templates = Prompts::from_json_with_labels(r#"["a {}", "the {}", "a {}"]"#, &labels).unwrap();
    let (width, mut random) = (model.config().embed, Random(3));
    let rows = (0..1 + 6).flat_map(|_| random.unit_row(width)).collect();
    let (views, boxes) = (Embeddings { width, data: rows }, [CropBox::new(0, 0, 1, 1); 6]);
    for (method, prompts) in
        [(Method::Clip, &described), (Method::ClipE, &templates), (Method::Cupl, &described), (Method::Wca, &described)]
    {
        for reduction in [Reduction::MAX, Reduction::BestMean(2), Reduction::BestMean(3), Reduction::BestMean(9)] {
            let options = options(method, reduction).with_text_scale(3.1).with_image_scale(1.7);
            let compiled = model.compile_texts(prompts, &options).unwrap();
            let texts_of = |class: &Class| match method {
                Method::Clip => vec![format!("a photo of a {}.", class.name)],
                _ => class.descriptions.clone(),
            };
            let mut expected = Texts {
                texts: Vec::new(),
                embeddings: Embeddings { width, data: Vec::new() },
                weights: Vec::new(),
                offsets: vec![0],
            };
            for class in prompts.classes() {
                let texts = texts_of(class);
                let label = [format!("a photo of a {}.", class.name)];
                let label = model.encode_texts(&label, true).unwrap().embeddings;
                let rows = model.encode_texts(&texts, true).unwrap().embeddings;
                let power = |row: &[f32]| match method {
                    Method::Wca => (3.1f64.exp() * dot(&wide(row), &wide(label.row(0)))).exp(),
                    _ => 1.0,
                };
                let sum: f64 = rows.rows().map(power).sum();
                expected.weights.extend(rows.rows().map(|row| (power(row) / sum) as f32));
                expected.texts.extend(texts);
                expected.embeddings.data.extend(&rows.data);
                expected.offsets.push(expected.texts.len() as u32);
            }
            let Kept::Texts(texts) = &compiled.kept else { panic!("{method:?} {reduction}: no texts") };
            assert_eq!((&texts.texts, &texts.offsets), (&expected.texts, &expected.offsets));
            assert_close(&texts.weights, &expected.weights, 1e-6, "weights");
            let scale = (method == Method::Wca).then_some(1.7f64.exp());
            let found = model.clone().into_classifier(compiled).unwrap();
            let found = found.score_views(&views, &boxes).unwrap();
            assert_close(
                found.scores(),
                &scores(&expected, reduction, &views, scale),
                2e-6,
                &format!("{method:?} {reduction}"),
            );
        }
    }
}

/// A mean is the same bits, whether the classifier keeps one vector a class or its texts.
#[test]
fn kept_texts_leave_a_mean_as_it_is() {
    let model = golden("cpu", Towers::Both);
    let prompts = Prompts::from_json(DESCRIBED).unwrap();
    let picture = Reference::golden().picture("landscape");
    for method in [Method::Clip, Method::Cupl, Method::Wca] {
        for score in [Score::Official, Score::Paper] {
            let [folded, kept] = [false, true].map(|keep_texts| {
                let options =
                    CompileOptions::default().with_method(method).with_score(score).with_keep_texts(keep_texts);
                model.compile(&prompts, &options).unwrap()
            });
            assert!(
                matches!(folded.compiled().kept, Kept::Vectors(_)) && matches!(kept.compiled().kept, Kept::Texts(_))
            );
            assert_eq!(folded.classify(&picture).unwrap(), kept.classify(&picture).unwrap(), "{method:?} {score:?}");
        }
    }
}

/// A softmax that underflows masks no description out of a maximum.
#[test]
fn a_weight_is_never_nothing() {
    let model = golden("cpu", Towers::Both);
    let prompts = Prompts::from_json(DESCRIBED).unwrap();
    let picture = Reference::golden().picture("landscape");
    let scores = |text_scale| {
        let options = options(Method::Wca, Reduction::MAX).with_text_scale(text_scale);
        model.compile(&prompts, &options).unwrap().classify(&picture).unwrap().scores().to_vec()
    };
    assert_close(&scores(20.0), &scores(2.0), 1e-6, "max");
}

#[test]
fn reductions_have_names() {
    for (name, reduction) in [
        ("mean", Reduction::WeightedMean),
        ("max", Reduction::MAX),
        ("best:2", Reduction::BestMean(2)),
        ("best:18446744073709551615", Reduction::BestMean(usize::MAX)),
    ] {
        assert_eq!((name.parse::<Reduction>().unwrap(), reduction.to_string()), (reduction, name.into()));
        assert_eq!(serde_json::to_value(reduction).unwrap(), name);
        assert_eq!(serde_json::from_str::<Reduction>(&format!("{name:?}")).unwrap(), reduction);
    }
    assert_eq!("best:1".parse::<Reduction>().unwrap(), Reduction::MAX);
    for name in ["", "median", "Mean", "best", "best:", "best:0", "best:-1", "best:1.5", "best:99999999999999999999"] {
        let message = name.parse::<Reduction>().unwrap_err().to_string();
        assert!(message.contains(&format!("{name:?}")) && message.contains("best:K"), "{message}");
    }
}

#[test]
fn what_does_not_go_together_is_named() {
    let model = golden("cpu", Towers::Both);
    let prompts = Prompts::from_json(DESCRIBED).unwrap();
    let fails = |options: &CompileOptions, words: &[&str]| {
        let message = model.compile_texts(&prompts, options).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let official = |reduction| CompileOptions::default().with_reduction(reduction);
    fails(&official(Reduction::MAX), &["score: found official", "paper with the reduction max"]);
    fails(&official(Reduction::BestMean(4)), &["score: found official", "paper with the reduction best:4"]);
    fails(&options(Method::Cupl, Reduction::BestMean(0)), &["reduction: found the best 0"]);
    // Other methods have no such score.
    model.compile_texts(&prompts, &official(Reduction::MAX).with_method(Method::Cupl)).unwrap();

    // A classifier whose fields were changed.
    let classifier = |change: fn(&mut CompiledClassifier)| {
        let mut compiled = model.compile_texts(&prompts, &options(Method::Wca, Reduction::MAX)).unwrap();
        change(&mut compiled);
        let refused = compiled.to_bytes().map(drop);
        (refused, model.clone().into_classifier(compiled).map(drop))
    };
    assert!(matches!(classifier(|_| ()), (Ok(()), Ok(()))));
    fn texts(compiled: &mut CompiledClassifier) -> &mut Texts {
        let Kept::Texts(texts) = &mut compiled.kept else { panic!("no texts") };
        texts
    }
    type Change = (fn(&mut CompiledClassifier), &'static str);
    let changes: [Change; 10] = [
        (|compiled| compiled.classes.push("another".into()), "text offsets"),
        (|compiled| texts(compiled).offsets[1] = 0, "no texts of class 0"),
        (|compiled| texts(compiled).offsets[1] = 99, "no texts of class 1"),
        (|compiled| texts(compiled).offsets.clear(), "text offsets"),
        (|compiled| texts(compiled).texts.truncate(3), "text offsets"),
        (|compiled| texts(compiled).weights.truncate(3), "text weights"),
        (|compiled| texts(compiled).weights[2] = 0.0, "text weights: found 0"),
        (|compiled| texts(compiled).weights[2] = f32::NAN, "text weights: found NaN"),
        (|compiled| texts(compiled).embeddings.data[30] = f32::INFINITY, "embeddings: found inf"),
        (|compiled| texts(compiled).embeddings.data.truncate(30), "embeddings: found 30 numbers"),
    ];
    for (change, word) in changes {
        let (refused, joined) = classifier(change);
        for message in [refused.unwrap_err(), joined.unwrap_err()].map(|error| error.to_string()) {
            assert!(message.contains(word), "{message} does not say {word}");
        }
    }
    // One vector a class, and a reduction that needs the texts.
    let mut folded = model.compile_texts(&prompts, &Default::default()).unwrap();
    folded.options = options(Method::Wca, Reduction::MAX);
    let message = model.clone().into_classifier(folded).err().unwrap().to_string();
    assert!(message.contains("found one vector a class, expected texts, for the reduction max"), "{message}");
}
