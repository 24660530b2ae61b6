//! A classifier file brings back every field, and a classifier from a file scores as the one that was saved.

use super::common::{Reference, assert_close};
use super::{golden, prompts};
use crossalign::engine::Embeddings;
use crossalign::image::CropBox;
use crossalign::{CompileOptions, Compiled, Method, Score};

/// Two local views and the global one before them, of the golden model's width: any unit rows do.
fn views() -> (Embeddings, [CropBox; 2]) {
    let row = |seed: usize| {
        let row: Vec<f32> = (0..24).map(|i| ((i * seed) as f32 * 0.7).sin()).collect();
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.into_iter().map(move |x| x / length).collect::<Vec<f32>>()
    };
    let data = [1, 2, 3].map(row).concat();
    (Embeddings { width: 24, data }, [CropBox::new(0, 0, 1, 1), CropBox::new(0, 0, 2, 2)])
}

/// Options that differ from the default in one field each. A field that is added does not compile before it is here.
fn away_from_default() -> Vec<(&'static str, CompileOptions)> {
    let default = CompileOptions::default();
    let CompileOptions { method: _, score: _, image_scale: _, text_scale: _, template: _ } = default;
    vec![
        ("method", CompileOptions { method: Method::Clip, ..default.clone() }),
        ("method", CompileOptions { method: Method::Cupl, ..default.clone() }),
        ("score", CompileOptions { score: Score::Paper, ..default.clone() }),
        ("image_scale", CompileOptions { image_scale: -0.3, ..default.clone() }),
        ("text_scale", CompileOptions { text_scale: 5.1, ..default.clone() }),
        ("template", CompileOptions { template: "{}, \"the {}\"\n".into(), ..default }),
    ]
}

#[test]
fn every_option_comes_back_and_counts() {
    let model = golden("transformers");
    let prompts = Reference::golden().prompts();
    let (views, boxes) = views();
    let scores = |compiled: &Compiled| {
        let classifier = model.clone().into_classifier(compiled.clone()).unwrap();
        classifier.score_views(&views, &boxes).unwrap().scores().to_vec()
    };
    let default = scores(&model.compile_texts(&prompts, &CompileOptions::default()).unwrap());
    for (field, options) in away_from_default() {
        let compiled = model.compile_texts(&prompts, &options).unwrap();
        let loaded = Compiled::from_bytes(&compiled.to_bytes().unwrap()).unwrap();
        assert_eq!(loaded, compiled, "{field}");
        assert_eq!(loaded.options, options);
        let found = scores(&loaded);
        assert!(found == scores(&compiled), "{options:?}");
        assert!(found != default, "{options:?} changes nothing");
    }
}

#[test]
fn a_loaded_classifier_scores_as_the_one_that_was_saved() {
    let model = golden("transformers");
    let prompts = Reference::golden().prompts();
    let (views, boxes) = views();
    let mut all = Vec::new();
    for method in [Method::Clip, Method::Cupl, Method::Wca] {
        for score in [Score::Official, Score::Paper] {
            for image_scale in [4.0, 1.3] {
                for (text_scale, template) in [(2.0, "a photo of a {}."), (5.5, "a photo of a {}."), (2.0, "the {}")] {
                    let template = template.to_string();
                    let options = CompileOptions { method, score, image_scale, text_scale, template };
                    let saved = model.compile(&prompts, &options).unwrap();
                    let bytes = saved.compiled().to_bytes().unwrap();
                    let loaded = model.clone().into_classifier(Compiled::from_bytes(&bytes).unwrap()).unwrap();
                    let [saved, loaded] = [&saved, &loaded].map(|c| c.score_views(&views, &boxes).unwrap());
                    assert!(saved == loaded, "{options:?}");
                    all.push(saved.scores().to_vec());
                }
            }
        }
    }
    // Of 36 combinations WCA tells all 12; CLIP looks at the template alone, CuPL at nothing more.
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all.dedup();
    assert_eq!(all.len(), 12 + 2 + 1);
}

/// What is not an option: the classes with any names, the vectors, the keys, the number of truncated texts.
#[test]
fn every_field_comes_back() {
    let model = golden("transformers");
    let classes = ["\"quoted\"", "back\\slash", "two\nlines", "𝄞 😀", "{}"].map(String::from);
    let options = CompileOptions { score: Score::Paper, ..Default::default() };
    let compiled = Compiled {
        options: options.clone(),
        classes: classes.to_vec(),
        vectors: Embeddings { width: 3, data: (0..15).map(|i| i as f32 - 7.5).collect() },
        model: "a model".into(),
        prompts: "some \"prompts\"".into(),
        truncated: 7,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier");
    compiled.save(&path).unwrap();
    let Compiled { options: found, classes: names, vectors, model: of, prompts: key, truncated } =
        Compiled::open(&path).unwrap();
    assert_eq!((found, names), (options, classes.to_vec()));
    assert_eq!((vectors, truncated), (compiled.vectors.clone(), 7));
    assert_eq!((of, key), ("a model".to_string(), "some \"prompts\"".to_string()));

    // Texts that are cut are counted where they are compiled: a label and two descriptions of 200 words.
    let long = "striped ".repeat(200);
    let prompts = prompts(&format!(r#"{{"{long}": ["{long}", "short", "{long}"]}}"#));
    let compiled = model.compile_texts(&prompts, &CompileOptions::default()).unwrap();
    assert_eq!(Compiled::from_bytes(&compiled.to_bytes().unwrap()).unwrap().truncated, 3);
}

/// WCA's formulas in f64 with every option away from its default, from the texts' embeddings.
#[test]
fn options_mean_what_the_formulas_say() {
    let model = golden("transformers");
    let prompts = prompts(r#"{"cat": ["whiskers", "fur", "a tail"], "night sky": ["stars", "a moon"]}"#);
    let (views, boxes) = views();
    let template = "{} or {}".to_string();
    for score in [Score::Official, Score::Paper] {
        let options = CompileOptions {
            method: Method::Wca,
            score,
            image_scale: 0.4,
            text_scale: 1.1,
            template: template.clone(),
        };
        let classifier = model.compile(&prompts, &options).unwrap();
        let found = classifier.score_views(&views, &boxes).unwrap();
        let expected: Vec<f32> = prompts
            .classes()
            .iter()
            .map(|class| {
                let label = format!("{0} or {0}", class.name);
                let texts = [&[label], &class.descriptions[..]].concat();
                let texts = model.encode_texts(&texts, true).unwrap().embeddings;
                let (f, w) = weighted(&views, 0.4);
                let (g, v) = weighted(&texts, 1.1);
                match score {
                    Score::Official => (dot(&f, &g) / (dot(&f, &f) * dot(&g, &g)).sqrt()) as f32,
                    Score::Paper => {
                        let row = |rows: &Embeddings, i| rows.row(i).iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
                        let pair = |i: usize, j: usize| w[i] * v[j] * dot(&row(&views, i + 1), &row(&texts, j + 1));
                        (0..w.len()).map(|i| (0..v.len()).map(|j| pair(i, j)).sum::<f64>()).sum::<f64>() as f32
                    }
                }
            })
            .collect();
        assert_close(found.scores(), &expected, 2e-6, &format!("{score:?}"));
    }
}

/// `softmax(e^scale · row·anchor)` over the rows after the first, the anchor, and the rows' sum with these weights.
fn weighted(rows: &Embeddings, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let row = |i: usize| rows.row(i).iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let powers: Vec<f64> = (1..rows.len()).map(|i| (scale.exp() * dot(&row(i), &row(0))).exp()).collect();
    let weights: Vec<f64> = powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect();
    let mut sum = vec![0.0; rows.width];
    for (i, weight) in weights.iter().enumerate() {
        sum.iter_mut().zip(row(i + 1)).for_each(|(sum, x)| *sum += weight * x);
    }
    (sum, weights)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
