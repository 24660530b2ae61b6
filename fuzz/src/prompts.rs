//! Hostile prompts and labels.

use super::accepted;
use crossalign::Prompts;
use crossalign::align::Class;
use std::collections::HashSet;

/// A prompts file; behind a zero byte, if there is one, the labels.
pub fn prompts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (json, labels) = text.split_once('\0').map_or((&*text, None), |(json, labels)| (json, Some(labels)));
    let labels = labels.and_then(|labels| accepted(Prompts::labels_from_text(labels), "labels: found"));
    let prompts = match &labels {
        Some(labels) => Prompts::from_json_with_labels(json, labels),
        None => Prompts::from_json(json),
    };
    let Some(prompts) = accepted(prompts, ": found") else { return };

    let names: Vec<&String> = prompts.classes().iter().map(|class| &class.name).collect();
    assert!(!names.is_empty() && names.iter().all(|name| !name.trim().is_empty()));
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "a class is there twice");
    assert!(prompts.classes().iter().all(|class| !class.descriptions.is_empty()));
    if let Some(labels) = &labels {
        assert_eq!(names, labels.iter().collect::<Vec<_>>());
    }
    let again = Prompts::from_json(&to_json(prompts.classes())).expect("prompts written as JSON");
    assert_eq!(again.classes(), prompts.classes());
}

/// An object in the classes' order, which serde_json's own would not keep.
fn to_json(classes: &[Class]) -> String {
    let entry = |class: &Class| {
        let name = serde_json::Value::from(class.name.as_str());
        format!("{name}:{}", serde_json::Value::from(class.descriptions.as_slice()))
    };
    format!("{{{}}}", classes.iter().map(entry).collect::<Vec<_>>().join(","))
}
