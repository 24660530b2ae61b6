//! The order of classes, ties, and what stands in the places of a template.

use super::common::Reference;
use super::{golden, labelled, method, prompts};
use crossalign::align::{Class, Evaluator};
use crossalign::image::ViewSampling;
use crossalign::{Classification, CompileOptions, Method, Prompts, Views};

const METHODS: [Method; 3] = [Method::Clip, Method::Cupl, Method::Wca];
const FILE: &str =
    r#"{"cat": ["fur", "whiskers"], "dog": ["a wet nose"], "night sky": ["stars"], "rocket": ["flames"]}"#;

fn few() -> Views {
    Views::Sampled(ViewSampling { count: 3, ..Default::default() })
}

fn classes(result: &Classification) -> Vec<&str> {
    result.predictions().iter().map(|prediction| prediction.class).collect()
}

/// Labels choose classes and their order, whatever the order of the file.
#[test]
fn classes_come_in_the_order_of_the_labels() {
    let model = golden("transformers");
    let picture = Reference::golden().picture("tiny");
    for method in METHODS.map(method) {
        let of = |prompts: &Prompts| {
            let classifier = model.compile(prompts, &method).unwrap();
            let scores = classifier.clone().with_views(few()).classify_batch(&[&picture]).unwrap()[0].scores().to_vec();
            classifier.compiled().classes.iter().cloned().zip(scores).collect::<Vec<_>>()
        };
        let all = of(&prompts(FILE));
        for labels in [
            &["rocket", "cat", "night sky", "dog"][..],
            &["night sky", "dog", "cat", "rocket"],
            &["cat", "dog", "night sky", "rocket"],
            &["rocket", "dog"],
            &["night sky"],
        ] {
            let expected: Vec<_> =
                labels.iter().map(|label| all.iter().find(|(name, _)| name == label).unwrap().clone()).collect();
            assert_eq!(of(&labelled(FILE, labels)), expected, "{method:?}");
        }
    }
    assert_eq!(Prompts::labels_from_text("night sky\n").unwrap(), ["night sky"]);
    assert!(Prompts::labels_from_text("\ncat, dog\n").unwrap_err().to_string().contains("the one line \"cat, dog\""));
    let message = Prompts::from_json("3").unwrap_err().to_string();
    assert!(message.contains("expected an object of classes or a list of templates"), "{message}");
    let names = |prompts: &Prompts| prompts.classes().iter().map(|class| class.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&labelled(r#"["a {}"]"#, &["b", "a", "c"])), ["b", "a", "c"]);
    assert_eq!(names(&Prompts::from_labels(&["b", "a"]).unwrap()), ["b", "a"]);
}

/// Of equal scores the class that is named first wins, wherever the two stand.
#[test]
fn of_equal_classes_the_first_wins() {
    let model = golden("transformers");
    let picture = Reference::golden().picture("tiny");
    // The tokenizer folds case, so that the label prompts are equal, too.
    for names in [["cat", "CAT"], ["CAT", "cat"]] {
        let [first, second] = names;
        for (json, at) in [
            (format!(r#"{{"{first}": ["fur"], "{second}": ["fur"], "dog": ["a wet nose"]}}"#), [0, 1]),
            (format!(r#"{{"dog": ["a wet nose"], "{first}": ["fur"], "{second}": ["fur"]}}"#), [1, 2]),
            (format!(r#"{{"{first}": ["fur"], "dog": ["a wet nose"], "{second}": ["fur"]}}"#), [0, 2]),
        ] {
            let prompts = prompts(&json);
            for options in METHODS.map(method) {
                let classifier = model.compile(&prompts, &options).unwrap();
                let result = &classifier.clone().with_views(few()).classify_batch(&[&picture]).unwrap()[0];
                assert_eq!(result.scores()[at[0]].to_bits(), result.scores()[at[1]].to_bits(), "{options:?}: no tie");
                let order = classes(result);
                let place = |name: &str| order.iter().position(|class| *class == name).unwrap();
                assert_eq!(place(second), place(first) + 1, "{json}: {order:?}");
            }
            let sampling = ViewSampling { count: 3, ..Default::default() };
            let samplings = [sampling, ViewSampling { seed: 1, ..sampling }];
            let evaluator = Evaluator::new(&model, &prompts, None, &Default::default(), &samplings).unwrap();
            let [of_first, of_second] = names.map(|name| evaluator.rank(&picture, name).unwrap());
            let methods: Vec<Method> = of_first.iter().map(|ranks| ranks.method).collect();
            assert_eq!(methods, METHODS);
            for (of_first, of_second) in of_first.iter().zip(&of_second) {
                let next: Vec<usize> = of_first.ranks.iter().map(|rank| rank + 1).collect();
                assert_eq!(of_second.ranks, next, "{:?}", of_first.method);
            }
        }
    }
}

/// Of equal views and descriptions the lower index is the better one.
#[test]
fn of_equal_views_and_descriptions_the_first_is_the_best() {
    let model = golden("transformers");
    let picture = Reference::golden().picture("landscape");
    let same = crossalign::image::CropBox::new(3, 4, 30, 30);
    let other = crossalign::image::CropBox::new(50, 10, 40, 40);
    for boxes in [[same, same, other], [other, same, same], [same, other, same]] {
        for texts in [["fur", "fur", "claws"], ["claws", "fur", "fur"], ["fur", "claws", "fur"]] {
            let class = Class { name: "cat".into(), descriptions: texts.map(String::from).to_vec() };
            let views = Views::Boxes(boxes.to_vec());
            let explanation = model.explain(&picture, &class, &views, &Default::default()).unwrap();
            let is_sorted = |order: &[usize], is_same: &dyn Fn(usize) -> bool| {
                let same: Vec<usize> = order.iter().copied().filter(|&i| is_same(i)).collect();
                same.len() == 2 && same[0] < same[1]
            };
            assert!(is_sorted(&explanation.best_views(3), &|i| boxes[i] == same), "{boxes:?}");
            assert!(is_sorted(&explanation.best_texts(3), &|i| texts[i] == "fur"), "{texts:?}");
            let best = explanation.best(9);
            let ties: Vec<(usize, usize)> = best
                .iter()
                .filter(|pair| boxes[pair.view] == same && texts[pair.text] == "fur")
                .map(|pair| (pair.view, pair.text))
                .collect();
            assert!(ties.len() == 4 && ties.is_sorted(), "{ties:?}");
            assert_eq!(explanation.best_views(1), explanation.best_views(3)[..1]);
        }
    }
}

/// Every `{}` of a template is filled, once: a name that has `{}` in it stays as it is.
#[test]
fn every_place_of_a_template_is_filled() {
    let model = golden("transformers");
    let picture = Reference::golden().picture("tiny");
    for (template, name, filled) in [
        ("a {} or a {}.", "cat", "a cat or a cat."),
        ("{}{}{}", "cat", "catcatcat"),
        ("the {} and the {}", "{}", "the {} and the {}"),
        ("a {} or {}.", "{} {}", "a {} {} or {} {}."),
        ("{{}} {}", "dog", "{dog} dog"),
    ] {
        assert_eq!(labelled(&serde_json::json!([template]).to_string(), &[name]).classes()[0].descriptions, [filled]);
        let options = CompileOptions::default().with_method(Method::Clip).with_template(template);
        let compiled = model.compile_texts(&Prompts::from_labels(&[name]).unwrap(), &options).unwrap();
        assert_eq!(compiled.kept.rows(), &model.encode_texts(&[filled], true).unwrap().embeddings, "{template}");

        // In an explanation the label prompt shows in the weights of the descriptions.
        let class = Class { name: name.into(), descriptions: vec!["fur".into(), "a wet nose".into()] };
        let of = |template: &str| {
            let options = CompileOptions::default().with_template(template);
            model.explain(&picture, &class, &few(), &options).unwrap().texts().to_vec()
        };
        let texts = model.encode_texts(&[filled, "fur", "a wet nose"], true).unwrap().embeddings;
        let cosine = |i| texts.row(0).iter().zip(texts.row(i)).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let share = 1.0 / (1.0 + (2f64.exp() * (cosine(2) - cosine(1))).exp());
        assert!((f64::from(of(template)[0].weight) - share).abs() < 2e-6, "{template}");
    }
}
