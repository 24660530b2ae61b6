//! From texts to token ids: cleaning, the tokenizers library, and cutting to the context while keeping the end token.

use super::bpe;
use super::config::Config;
use super::source::Source;
use super::text_cleaning::clean_openai;
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The tokenizer's file; without it the older ones are read (`bpe.rs`).
pub(super) const NAME: &str = "tokenizer.json";

/// How a text is cleaned before it is tokenised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextCleaning {
    /// Nothing: `tokenizer.json` as it stands, like transformers.
    #[default]
    None,
    /// OpenAI's cleaning: ftfy's common repairs, HTML entities, white space, lower case.
    OpenAi,
}

impl std::str::FromStr for TextCleaning {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::None),
            "openai" => Ok(Self::OpenAi),
            _ => Err(Error::argument("text cleaning", format!("{text:?}"), "none or openai")),
        }
    }
}

/// Token ids of a text, at most the model's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Start token, text, end token.
    pub ids: Vec<u32>,
    /// Whether the text was longer and lost its end (the end token is kept).
    pub truncated: bool,
}

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    cleaning: TextCleaning,
    context: usize,
    vocabulary: usize,
    end: u32,
}

impl Tokenizer {
    /// Reads a folder's tokenizer, for a model of this config.
    pub(crate) fn load(source: &Source, cleaning: TextCleaning, config: &Config) -> Result<Self> {
        if source.has(NAME) {
            return Self::from_json(&source.read(NAME)?, &source.path(NAME), cleaning, config);
        }
        let (path, json) = bpe::tokenizer_json(source)?.ok_or_else(|| {
            let expected = format!("{NAME}, vocab.json with merges.txt, or bpe_simple_vocab_16e6.txt.gz");
            Error::file(source.folder(), "tokenizer", "no such file", expected)
        })?;
        Self::from_json(&json, &path, cleaning, config)
    }

    fn from_json(json: &[u8], path: &Path, cleaning: TextCleaning, config: &Config) -> Result<Self> {
        let Config { context, vocabulary, end_token, .. } = *config;
        let error = |found: String, expected: &str| Error::file(path, "tokenizer", found, expected);
        let expected = "a tokenizer.json of the tokenizers library";
        if let Some(token) = undefined_special_token(json) {
            return Err(error(format!("special token {token:?} without an entry"), expected));
        }
        let mut inner = guarded(|| tokenizers::Tokenizer::from_bytes(json)).map_err(|e| error(e, expected))?;
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| error(e.to_string(), "no truncation"))?;
        let empty = guarded(|| inner.encode("", true)).map_err(|e| error(e, "ids for an empty text"))?;
        let &[_, end] = empty.get_ids() else {
            return Err(error(format!("{} tokens for an empty text", empty.len()), "a start and an end token"));
        };
        if end as usize >= vocabulary || context < 2 {
            let found = format!("end token {end}, vocabulary {vocabulary}, context {context}");
            return Err(error(found, "an end token inside the model's vocabulary, a context of at least 2"));
        }
        // The tower pools at the tokenizer's first end token; the config must not mean another one.
        let highest = || inner.get_vocab(true).into_values().max();
        let (pooled, what) = match end_token {
            Some(id) => (Some(id), "the config's eos_token_id or eos_id"),
            None => (highest(), "the highest id, at which the model pools"),
        };
        if let Some(pooled) = pooled.filter(|&id| id != end) {
            return Err(error(format!("end token {end}"), &format!("{pooled}, {what}")));
        }
        Ok(Self { inner, path: path.to_owned(), cleaning, context, vocabulary, end })
    }

    /// The ids of a text: at most the model's context, ending with the first end token.
    ///
    /// # Errors
    /// When the tokenizer cannot encode the text, or gives an id that the model has no embedding for.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let cleaned;
        let text = match self.cleaning {
            TextCleaning::None => text,
            TextCleaning::OpenAi => {
                cleaned = clean_openai(text);
                &cleaned
            }
        };
        let error =
            |found: String, expected: String| Error::file(&self.path, format!("text {text:?}"), found, expected);
        let encoding =
            guarded(|| self.inner.encode(text, true)).map_err(|e| error(e, "a text that can be encoded".into()))?;
        let mut ids = encoding.get_ids().to_vec();
        let truncated = ids.len() > self.context;
        if truncated {
            ids.truncate(self.context);
            ids[self.context - 1] = self.end;
        }
        match ids.iter().find(|&&id| id as usize >= self.vocabulary) {
            None => Ok(Tokens { ids, truncated }),
            Some(id) => Err(error(format!("id {id}"), format!("ids below the vocabulary of {}", self.vocabulary))),
        }
    }

    /// The part of a text's ids that the text tower reads: up to the first end token, where it pools.
    pub(crate) fn up_to_end<'a>(&self, ids: &'a [u32]) -> &'a [u32] {
        let end = ids.iter().position(|&id| id == self.end).map_or(ids.len(), |end| end + 1);
        &ids[..end]
    }
}

/// Calls the tokenizers library, and makes its panics on some damaged files errors like its others.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("a file that the library stumbles over".into()),
    }
}

/// A special token that a template of the post-processor names but does not define: the library would panic on it.
fn undefined_special_token(json: &[u8]) -> Option<String> {
    fn search(value: &Value) -> Option<String> {
        if let Some(processors) = value.get("processors").and_then(Value::as_array) {
            return processors.iter().find_map(search);
        }
        let defined = value.get("special_tokens")?;
        let pieces = value.get("single")?.as_array()?.iter();
        let mut names = pieces.filter_map(|piece| piece.get("SpecialToken")?.get("id")?.as_str());
        names.find(|name| defined.get(name).is_none()).map(str::to_string)
    }
    search(serde_json::from_slice::<Value>(json).ok()?.get("post_processor")?)
}
