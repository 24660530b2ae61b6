//! Hostile texts, and hostile tokenizer files.

use super::folder::{Folder, TRANSFORMERS, TRANSFORMERS_CONFIG, golden};
use crossalign::Model;
use crossalign::engine::{ModelOptions, Towers};
use crossalign::model::TextCleaning;
use std::sync::{LazyLock, Once};

/// The golden tokenizer's special tokens.
const START: u32 = 812;
const END: u32 = 813;

/// A vocabulary with the special tokens, for hostile merges.
const VOCABULARY: &[u8] =
    br#"{"a": 0, "b": 1, "ab": 2, "a</w>": 3, "b</w>": 4, "<|startoftext|>": 812, "<|endoftext|>": 813}"#;

static PLAIN: LazyLock<Model> = LazyLock::new(|| golden(text_tower(TextCleaning::None)));
static CLEANING: LazyLock<Model> = LazyLock::new(|| golden(text_tower(TextCleaning::OpenAi)));

fn text_tower(text_cleaning: TextCleaning) -> ModelOptions {
    ModelOptions::default().with_towers(Towers::Text).with_text_cleaning(text_cleaning)
}

/// The first byte says what the others are: a text, a text to clean, a `tokenizer.json` or one of the older files.
pub fn tokenizer(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 6 {
        0 => assert_encodes_text(&PLAIN, &String::from_utf8_lossy(rest)),
        1 => assert_encodes_text(&CLEANING, &String::from_utf8_lossy(rest)),
        2 => hostile_files(&[("tokenizer.json", rest)]),
        3 => hostile_files(&[("vocab.json", rest), ("merges.txt", b"#version: 0.2\na b\n")]),
        4 => hostile_files(&[("vocab.json", VOCABULARY), ("merges.txt", rest)]),
        _ => hostile_files(&[("bpe_simple_vocab_16e6.txt.gz", rest)]),
    }
}

fn assert_encodes_text(model: &Model, text: &str) {
    let tokens = model.tokenizer().expect("a text tower").encode(text).expect("any text has tokens");
    let (ids, context) = (&tokens.ids, model.config().context);
    assert!(ids.len() >= 2 && ids.len() <= context && ids.iter().all(|&id| id <= END));
    assert_eq!((ids[0], ids[ids.len() - 1]), (START, END));
    assert!(!tokens.truncated || ids.len() == context);

    let encode = |texts: &[&str]| model.encode_texts(texts, true).expect("any text has an embedding").embeddings;
    assert_eq!(encode(&["company", text]).row(1), encode(&[text]).row(0), "company changes an embedding");
}

/// crossalign makes errors of the tokenizers library's panics. libFuzzer's hook would end the process before that.
fn let_dependencies_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|place| place.file().contains("/registry/src/")) {
                hook(info);
            }
        }));
    });
}

fn hostile_files(files: &[(&str, &[u8])]) {
    let_dependencies_panic();
    let model: [(&str, &[u8]); 2] = [("model.safetensors", TRANSFORMERS), ("config.json", TRANSFORMERS_CONFIG)];
    let folder = Folder::with(&[&model, files].concat());
    let Some(model) = folder.load(text_tower(TextCleaning::None)) else { return };
    let config = model.config();
    for text in ["", "a photo of a cat", "\u{fffd}日本 x\n\n<|endoftext|> é"] {
        // A refusal names the file.
        let path = folder.path().display().to_string();
        let tokens = super::accepted(model.tokenizer().expect("a text tower").encode(text), &path);
        let Some(tokens) = tokens else { continue };
        assert!(!tokens.ids.is_empty() && tokens.ids.len() <= config.context);
        assert!(tokens.ids.iter().all(|&id| (id as usize) < config.vocabulary));
        super::accepted(model.encode_texts(&[text], false), ": found");
    }
}
