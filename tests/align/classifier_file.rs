//! A classifier file brings back every field, and a classifier from a file scores as the one that was saved.

use super::common::{Reference, assert_close};
use super::{golden, prompts};
use crossalign::align::{Kept, Texts};
use crossalign::engine::Embeddings;
use crossalign::image::CropBox;
use crossalign::{CompileOptions, CompiledClassifier, Method, Reduction, Score};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};

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

#[test]
fn embeddings_of_another_shape_are_refused() {
    let (views, boxes) = views();
    for name in [Method::Wca, Method::Clip] {
        let options = CompileOptions::default().with_method(name);
        let classifier = golden("transformers").compile(&prompts(r#"{"cat": ["fur"]}"#), &options).unwrap();
        let score = |width, numbers: usize, boxes: &[CropBox]| {
            let embeddings = Embeddings { width, data: views.data[..numbers].to_vec() };
            classifier.score_views(&embeddings, boxes).map_err(|error| error.to_string())
        };
        assert!(score(24, 72, &boxes).is_ok());
        for (width, numbers, boxes) in [(24, 71, 2), (24, 48, 2), (24, 72, 1), (12, 72, 2), (36, 72, 2), (24, 0, 0)] {
            let message = score(width, numbers, &vec![CropBox::new(0, 0, 1, 1); boxes]).unwrap_err();
            let found =
                format!("embeddings: found {numbers} numbers in rows of {width}, expected {} rows of 24", 1 + boxes);
            assert!(message.contains(&found), "{message}");
        }
        // The global view alone serves but WCA.
        let alone = score(24, 24, &[]);
        assert_eq!(alone.is_ok(), name == Method::Clip, "{alone:?}");
        assert!(alone.is_ok() || alone.unwrap_err().contains("views: found 0 local views"));
    }
}

/// Options that differ from the default in one field each.
fn away_from_default() -> Vec<(&'static str, CompileOptions)> {
    let default = CompileOptions::default();
    let paper = default.clone().with_score(Score::Paper);
    let away = vec![
        ("method", default.clone().with_method(Method::Clip)),
        ("method", default.clone().with_method(Method::Cupl)),
        ("score", default.clone().with_score(Score::Paper)),
        ("reduction", paper.clone().with_reduction(Reduction::MAX)),
        ("reduction", paper.with_reduction(Reduction::BestMean(2))),
        ("keep_texts", default.clone().with_keep_texts(true)),
        ("image_scale", default.clone().with_image_scale(-0.3)),
        ("text_scale", default.clone().with_text_scale(5.1)),
        ("template", default.clone().with_template("{}, \"the {}\"\n")),
    ];
    let fields = serde_json::to_value(default).unwrap().as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(away.iter().map(|(field, _)| field.to_string()).collect::<BTreeSet<_>>(), fields, "a field is added");
    away
}

#[test]
fn every_option_comes_back_and_counts() {
    let model = golden("transformers");
    let prompts = Reference::golden().prompts();
    let (views, boxes) = views();
    let scores = |compiled: &CompiledClassifier| {
        let classifier = model.clone().into_classifier(compiled.clone()).unwrap();
        classifier.score_views(&views, &boxes).unwrap().scores().to_vec()
    };
    let default = scores(&model.compile_texts(&prompts, &CompileOptions::default()).unwrap());
    for (field, options) in away_from_default() {
        let compiled = model.compile_texts(&prompts, &options).unwrap();
        let loaded = CompiledClassifier::from_bytes(&compiled.to_bytes().unwrap()).unwrap();
        assert_eq!(loaded, compiled, "{field}");
        assert_eq!(loaded.options, options);
        let found = scores(&loaded);
        assert!(found == scores(&compiled), "{options:?}");
        assert_eq!(found == default, field == "keep_texts", "{options:?}");
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
                    let options = CompileOptions::default()
                        .with_method(method)
                        .with_score(score)
                        .with_image_scale(image_scale)
                        .with_text_scale(text_scale)
                        .with_template(template);
                    let saved = model.compile(&prompts, &options).unwrap();
                    let bytes = saved.compiled().to_bytes().unwrap();
                    let loaded =
                        model.clone().into_classifier(CompiledClassifier::from_bytes(&bytes).unwrap()).unwrap();
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

/// Classifiers that keep vectors and that keep texts, with any names and texts.
fn of_any_names() -> [CompiledClassifier; 2] {
    let classes = ["\"quoted\"", "back\\slash", "two\nlines", "𝄞 😀", "{}"].map(String::from);
    let compiled = CompiledClassifier {
        options: CompileOptions::default().with_score(Score::Paper),
        classes: classes.to_vec(),
        kept: Kept::Vectors(Embeddings { width: 3, data: (0..15).map(|i| i as f32 - 7.5).collect() }),
        model: "a model".into(),
        prompts: "some \"prompts\"".into(),
        truncated: 7,
    };
    let texts = Texts {
        texts: [&classes[..], &classes[3..]].concat(),
        embeddings: Embeddings { width: 3, data: (0..21).map(|i| i as f32 - 10.5).collect() },
        weights: vec![1.0, 0.25, 0.75, 1e-30, 1.0, 1.0, 1.0],
        offsets: vec![0, 1, 3, 5, 6, 7],
    };
    let options = compiled.options.clone().with_reduction(Reduction::BestMean(3));
    [compiled.clone(), CompiledClassifier { kept: Kept::Texts(texts), options, ..compiled }]
}

/// What is not an option: the classes with any names, the vectors or texts, the keys, the number of truncated texts.
#[test]
fn every_field_comes_back() {
    let model = golden("transformers");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("classifier");
    for compiled in of_any_names() {
        compiled.save(&path).unwrap();
        let CompiledClassifier { options, classes, kept, model, prompts, truncated } =
            CompiledClassifier::open(&path).unwrap();
        assert_eq!((options, classes), (compiled.options.clone(), compiled.classes.clone()));
        assert_eq!((&kept, truncated), (&compiled.kept, 7));
        assert_eq!((model, prompts), ("a model".to_string(), "some \"prompts\"".to_string()));
        if let (Kept::Texts(found), Kept::Texts(saved)) = (kept, &compiled.kept) {
            let Texts { texts, embeddings, weights, offsets } = found;
            assert_eq!((&texts, &offsets), (&saved.texts, &saved.offsets));
            assert_eq!((&embeddings, &weights), (&saved.embeddings, &saved.weights));
        }
    }

    // Texts that are cut are counted where they are compiled: a label and two descriptions of 200 words.
    let long = "striped ".repeat(200);
    let prompts = prompts(&format!(r#"{{"{long}": ["{long}", "short", "{long}"]}}"#));
    let compiled = model.compile_texts(&prompts, &CompileOptions::default()).unwrap();
    assert_eq!(CompiledClassifier::from_bytes(&compiled.to_bytes().unwrap()).unwrap().truncated, 3);
}

/// Equal classifiers are equal files.
#[test]
fn a_classifier_is_the_same_bytes_each_time() {
    for compiled in of_any_names() {
        let bytes = compiled.to_bytes().unwrap();
        // Each time a hash map is in another order.
        for _ in 0..8 {
            assert!(compiled.to_bytes().unwrap() == bytes);
        }
        assert!(CompiledClassifier::from_bytes(&bytes).unwrap().to_bytes().unwrap() == bytes, "read and written");
        let header = String::from_utf8_lossy(&bytes[8..400]).into_owned();
        assert!(header.starts_with(r#"{"__metadata__":{"classes":"#), "{header}");
    }
}

/// A file of the format before, as `compile` wrote it.
#[test]
fn a_file_of_format_1_is_read() {
    let bytes = include_bytes!("format_1.safetensors");
    let compiled = CompiledClassifier::from_bytes(bytes).unwrap();
    let options = CompileOptions::default()
        .with_method(Method::Wca)
        .with_score(Score::Paper)
        .with_reduction(Reduction::WeightedMean)
        .with_keep_texts(false)
        .with_image_scale(1.5)
        .with_text_scale(3.0)
        .with_template("the {}");
    assert_eq!(compiled.options, options);
    assert_eq!(compiled.classes, ["cat", "night sky"]);
    let vectors: Vec<u8> = compiled.kept.rows().data.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert!(vectors.len() == 2 * 24 * 4 && bytes.ends_with(&vectors));
    // What the same command gives today.
    let prompts =
        prompts(r#"{"cat": ["whiskers", "pointed ears", "whiskers"], "night sky": ["stars over a dark field"]}"#);
    let today = golden("transformers").compile_texts(&prompts, &options).unwrap();
    assert_close(&compiled.kept.rows().data, &today.kept.rows().data, 1e-5, "vectors");
    assert_eq!(CompiledClassifier { kept: today.kept.clone(), ..compiled }, today);

    // There were no reductions.
    let [_, texts] = of_any_names();
    let file = changed(&texts.to_bytes().unwrap(), |metadata| {
        metadata.insert("format".into(), "crossalign-classifier-1".into());
        let options = &metadata["options"];
        let options = options.replace(r#""reduction":"best:3","#, "").replace(r#""keep_texts":false,"#, "");
        metadata.insert("options".into(), options);
    });
    let message = CompiledClassifier::from_bytes(&file).unwrap_err().to_string();
    assert!(message.contains("class_vectors"), "{message}");
}

/// A file with other metadata.
fn changed(file: &[u8], change: impl FnOnce(&mut HashMap<String, String>)) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let mut metadata = header.metadata().clone().unwrap();
    change(&mut metadata);
    let tensors: Vec<(String, TensorView<'_>)> = SafeTensors::deserialize(file).unwrap().tensors();
    safetensors::serialize(tensors, Some(metadata)).unwrap()
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let [vectors, texts] = of_any_names().map(|compiled| compiled.to_bytes().unwrap());
    let options = |from: &'static str, to: &'static str| {
        move |metadata: &mut HashMap<String, String>| {
            let changed = metadata["options"].replace(from, to);
            assert!(changed != metadata["options"], "{from}");
            metadata.insert("options".into(), changed);
        }
    };
    let field = |name: &'static str, value: &'static str| {
        move |metadata: &mut HashMap<String, String>| assert!(metadata.insert(name.into(), value.into()).is_some())
    };
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (changed(&texts, field("format", "crossalign-classifier-3")), &["format \"crossalign-classifier-3\""]),
        (changed(&texts, options("best:3", "median")), &["reduction", "\"median\"", "mean, max, or best:K"]),
        (changed(&texts, options("best:3", "best:0")), &["reduction", "\"best:0\""]),
        (changed(&texts, options("\"reduction\":\"best:3\",", "")), &["options", "missing field `reduction`"]),
        (changed(&texts, options("\"keep_texts\":false,", "\"keep\":1,")), &["options", "unknown field `keep`"]),
        (changed(&texts, options("paper", "official")), &["score: found official", "best:3"]),
        (changed(&texts, options("best:3", "mean")), &["class_vectors"]),
        (changed(&vectors, options("\"mean\"", "\"max\"")), &["texts"]),
        (changed(&vectors, options("\"keep_texts\":false", "\"keep_texts\":true")), &["texts"]),
        (changed(&texts, field("texts", "[\"a\", 3]")), &["texts", "integer"]),
        (changed(&texts, field("texts", "[\"a\"]")), &["text offsets", "expected 6 from 0 to 1"]),
        (changed(&texts, field("classes", "[\"a\"]")), &["text offsets", "expected 2"]),
        (changed(&vectors, field("classes", "[\"a\"]")), &["embeddings", "expected 1 rows"]),
        (changed(&vectors, field("classes", "[]")), &["embeddings", "at least one"]),
    ];
    for (file, words) in cases {
        let message = CompiledClassifier::from_bytes(&file).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{message} does not say {word}");
        }
    }
    // The same bytes as a tensor of another type or shape.
    for (tensor, field, value, word) in [
        ("text_offsets", "dtype", json!("F32"), "text_offsets of F32"),
        ("text_weights", "dtype", json!("I32"), "text_weights of I32"),
        ("text_embeddings", "shape", json!([21]), "text_embeddings of shape [21]"),
    ] {
        let end = 8 + u64::from_le_bytes(texts[..8].try_into().unwrap()) as usize;
        let mut header: serde_json::Value = serde_json::from_slice(&texts[8..end]).unwrap();
        header[tensor][field] = value;
        let header = header.to_string();
        let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &texts[end..]].concat();
        let message = CompiledClassifier::from_bytes(&file).unwrap_err().to_string();
        assert!(message.contains(word), "{message} does not say {word}");
    }
}

/// WCA's formulas in f64 with every option away from its default, from the texts' embeddings.
#[test]
fn options_mean_what_the_formulas_say() {
    let model = golden("transformers");
    let prompts = prompts(r#"{"cat": ["whiskers", "fur", "a tail"], "night sky": ["stars", "a moon"]}"#);
    let (views, boxes) = views();
    let template = "{} or {}".to_string();
    for score in [Score::Official, Score::Paper] {
        let options = CompileOptions::default()
            .with_method(Method::Wca)
            .with_score(score)
            .with_image_scale(0.4)
            .with_text_scale(1.1)
            .with_template(template.clone());
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
