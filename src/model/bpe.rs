//! CLIP's tokenizer from the files that came before `tokenizer.json`: its vocabulary and merges.

use super::source::Source;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::Path;

const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const OPENAI: &str = "bpe_simple_vocab_16e6.txt.gz";
/// All files that are read in place of `tokenizer.json`.
#[cfg(feature = "hub")]
pub(super) const FILES: [&str; 3] = [VOCABULARY, MERGES, OPENAI];
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
/// The merges that OpenAI's tokenizer takes of its file (CLIP, `simple_tokenizer.py`): 49,152 tokens less the bytes, each
/// alone and at the end of a word, and the two special tokens.
const OPENAI_MERGES: usize = 49_152 - 2 * 256 - 2;
/// Bounds the unpacked size of OpenAI's file, which is 3 MB.
const MAX_UNPACKED: u64 = 64 << 20;

/// The `tokenizer.json` that a folder's older files stand for, with the file to name in messages; none without such files.
pub(super) fn tokenizer_json(source: &Source) -> Result<Option<(std::path::PathBuf, Vec<u8>)>> {
    let (name, vocabulary, merges) = if source.has(VOCABULARY) && source.has(MERGES) {
        let path = source.path(VOCABULARY);
        let expected = "an object of tokens and ids";
        let vocabulary: Map<String, Value> = serde_json::from_slice(&source.read(VOCABULARY)?)
            .map_err(|error| Error::parse(&path, "vocabulary", error, expected))?;
        (VOCABULARY, vocabulary, read_merges(&source.path(MERGES), &source.read(MERGES)?, usize::MAX)?)
    } else if source.has(OPENAI) {
        let path = source.path(OPENAI);
        let mut text = Vec::new();
        let bytes = source.read(OPENAI)?;
        flate2::read::GzDecoder::new(&*bytes).take(MAX_UNPACKED).read_to_end(&mut text).map_err(Error::io(&path))?;
        let merges = read_merges(&path, &text, OPENAI_MERGES)?;
        (OPENAI, openai_vocabulary(&merges), merges)
    } else {
        return Ok(None);
    };
    let path = source.path(name);
    let id = |token: &str| {
        let id = vocabulary.get(token).and_then(Value::as_u64);
        id.ok_or_else(|| Error::file(&path, "vocabulary", format!("no {token}"), "CLIP's two special tokens"))
    };
    let tokenizer = describe(id(START)?, id(END)?, &vocabulary, &merges);
    Ok(Some((path, tokenizer.to_string().into_bytes())))
}

/// The merges, lines `first second`, after the first line, which has the version.
fn read_merges(path: &Path, text: &[u8], limit: usize) -> Result<Vec<[String; 2]>> {
    let text = std::str::from_utf8(text).map_err(|error| Error::parse(path, "merges", error, "UTF-8"))?;
    let merge = |(i, line): (usize, &str)| match line.split_once(' ') {
        Some((first, second)) if !first.is_empty() && !second.is_empty() && !second.contains(' ') => {
            Ok([first.to_string(), second.to_string()])
        }
        _ => Err(Error::file(path, format!("line {}", i + 1), format!("{line:?}"), "two tokens and a space")),
    };
    let lines = text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty());
    lines.take(limit).map(merge).collect()
}

/// OpenAI's order of ids: bytes, bytes that end a word, merged tokens, special tokens.
fn openai_vocabulary(merges: &[[String; 2]]) -> Map<String, Value> {
    // GPT-2's alphabet of bytes: printable ones come first and are themselves, the others are the characters from
    // U+0100 on.
    let printable = (b'!'..=b'~').chain(0xa1..=0xac).chain(0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable.clone().any(|printable| printable == *byte));
    let bytes = printable.clone().map(char::from).chain((0x100..).filter_map(char::from_u32).take(others.count()));
    let bytes: Vec<String> = bytes.map(String::from).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}</w>"));
    let merged = merges.iter().map(|merge| merge.concat());
    let special = [START, END].map(String::from);
    bytes.iter().cloned().chain(ends).chain(merged).chain(special).zip((0u32..).map(Value::from)).collect()
}

/// CLIP's tokenizer in the form of the tokenizers library: what transformers' `CLIPTokenizer` converts these files to.
fn describe(start: u64, end: u64, vocabulary: &Map<String, Value>, merges: &[[String; 2]]) -> Value {
    let special = |token: &str, id: u64| {
        json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": token == START, "special": true})
    };
    let token = |token: &str| json!({"SpecialToken": {"id": token, "type_id": 0}});
    let defined = |token: &str, id: u64| json!({"id": token, "ids": [id], "tokens": [token]});
    json!({
        "version": "1.0",
        "added_tokens": [special(START, start), special(END, end)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Removed", "invert": true, "pattern": {"Regex":
                r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token(START), {"Sequence": {"id": "A", "type_id": 0}}, token(END)],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {START: defined(START, start), END: defined(END, end)},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "unk_token": END, "end_of_word_suffix": "</w>", "fuse_unk": false,
            "vocab": vocabulary, "merges": merges,
        },
    })
}
