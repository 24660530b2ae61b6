//! The key of prompts: whatever is changed in them changes it, and nothing else does.

use super::{golden, labelled, method, prompts};
use crossalign::align::Class;
use crossalign::{Method, Prompts};
use std::collections::BTreeMap;

/// All that a hash must tell apart: each differs from its neighbours in one thing.
const DIFFERENT: [(&str, &str); 16] = [
    ("these", r#"{"a": ["b", "c"], "d": ["e"]}"#),
    ("the order of the classes", r#"{"d": ["e"], "a": ["b", "c"]}"#),
    ("the order of descriptions", r#"{"a": ["c", "b"], "d": ["e"]}"#),
    ("a description", r#"{"a": ["b", "C"], "d": ["e"]}"#),
    ("the first name", r#"{"A": ["b", "c"], "d": ["e"]}"#),
    ("the last name", r#"{"a": ["b", "c"], "D": ["e"]}"#),
    ("a space", r#"{"a": ["b", "c "], "d": ["e"]}"#),
    ("one description more", r#"{"a": ["b", "c", "c"], "d": ["e"]}"#),
    ("one description twice", r#"{"a": ["b", "b", "c"], "d": ["e"]}"#),
    ("one description less", r#"{"a": ["b"], "d": ["e"]}"#),
    ("one class less", r#"{"a": ["b", "c"]}"#),
    ("one class more", r#"{"a": ["b", "c"], "d": ["e"], "f": ["g"]}"#),
    ("where a class ends", r#"{"a": ["b"], "c": ["d", "e"]}"#),
    ("no class end at all", r#"{"a": ["b", "c", "d", "e"]}"#),
    ("where a text ends", r#"{"a": ["bc"], "d": ["e"]}"#),
    ("what is the name", r#"{"ab": ["c"], "d": ["e"]}"#),
];

#[test]
fn any_change_of_the_prompts_changes_their_hash() {
    let model = golden("transformers");
    let hash =
        |prompts: &Prompts, method: Method| model.compile_texts(prompts, &super::method(method)).unwrap().prompts;
    let mut seen = BTreeMap::new();
    for (what, json) in DIFFERENT {
        let prompts = prompts(json);
        // A field that is added to a class does not compile before its change is in the table.
        for Class { name, descriptions } in prompts.classes() {
            assert!(!name.is_empty() && !descriptions.is_empty());
        }
        if let Some(other) = seen.insert(hash(&prompts, Method::Cupl), what) {
            panic!("the hash does not tell {what} from {other}");
        }
        // How they are used is not their matter.
        assert_eq!(hash(&prompts, Method::Cupl), hash(&prompts, Method::Wca));
    }
    let labels = Prompts::from_labels(&["a", "d"]).unwrap();
    assert_eq!(seen.insert(hash(&labels, Method::Clip), "labels alone"), None);

    // Of a template and labels, both count, as the texts that they make.
    let base = hash(&labelled(r#"["the {}"]"#, &["a", "d"]), Method::ClipE);
    for (json, labels) in
        [(r#"["that {}"]"#, ["a", "d"]), (r#"["the {}", "the {}"]"#, ["a", "d"]), (r#"["the {}"]"#, ["d", "a"])]
    {
        assert_ne!(hash(&labelled(json, &labels), Method::ClipE), base, "{json}");
    }
}

#[test]
fn other_spellings_of_the_same_prompts_have_the_same_hash() {
    let model = golden("transformers");
    let hash = |prompts: &Prompts| model.compile_texts(prompts, &method(Method::Cupl)).unwrap().prompts;
    let expected = hash(&prompts(DIFFERENT[0].1));
    for json in [r#"{"a": {"why?": ["b"], "how?": "c"}, "d": "e"}"#, "{\"a\":\n[\"\\u0062\", \"c\"],\n\"d\": [\"e\"]}"]
    {
        assert_eq!(hash(&prompts(json)), expected, "{json}");
    }
    assert_eq!(hash(&labelled(r#"{"x": "y", "d": "e", "a": ["b", "c"]}"#, &["a", "d"])), expected);
    let filled = hash(&labelled(r#"["the {}", "a {}"]"#, &["a", "d"]));
    assert_eq!(filled, hash(&prompts(r#"{"a": ["the a", "a a"], "d": ["the d", "a d"]}"#)));
}
