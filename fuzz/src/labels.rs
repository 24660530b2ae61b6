//! Hostile labels.

use super::accepted;
use crossalign::Prompts;

/// A labels file.
pub fn labels(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some(labels) = accepted(Prompts::labels_from_text(&text), "labels: found") else { return };
    let json = serde_json::Value::from(labels.as_slice()).to_string();
    assert_eq!(Prompts::labels_from_text(&json).expect("labels written as JSON"), labels);
    if text.trim_start().starts_with('[') {
        return;
    }
    assert!(labels.iter().all(|label| !label.is_empty() && label.trim() == label && !label.contains('\n')));
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    assert_eq!(letters(&labels.concat()), letters(&text), "a letter is lost");
}
