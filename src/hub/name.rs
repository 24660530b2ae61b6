//! A model's name on the hub.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The longest name that the hub gives.
const MAX_LENGTH: usize = 96;

/// A model's name on the hub, and which revision of it: `ORG/NAME` or `ORG/NAME@REVISION`, the revision being a branch, a tag
/// or a commit.
///
/// ```
/// use crossalign::hub::Name;
/// let name: Name = "openai/clip-vit-base-patch32@refs/pr/15".parse()?;
/// assert_eq!((name.model(), name.revision()), ("openai/clip-vit-base-patch32", Some("refs/pr/15")));
/// # Ok::<(), crossalign::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    model: String,
    revision: Option<String>,
}

impl Name {
    /// `ORG/NAME`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The revision, where one is named.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// Another revision of the model.
    pub(crate) fn at(&self, revision: &str) -> Self {
        Self { model: self.model.clone(), revision: Some(revision.into()) }
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (model, revision) = match text.split_once('@') {
            Some((model, revision)) => (model, Some(revision)),
            None => (text, None),
        };
        if !is_model(model) || !revision.is_none_or(is_revision) {
            return Err(Error::argument("model", format!("{text:?}"), "ORG/NAME or ORG/NAME@REVISION"));
        }
        Ok(Self { model: model.into(), revision: revision.map(str::to_string) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, revision } = self;
        write!(f, "{model}")?;
        revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// What huggingface_hub's `validate_repo_id` takes. `--` is left out, as the cache's folders have it in place of `/`.
fn is_model(text: &str) -> bool {
    let part = |part: &str| {
        let is_end = |c: char| c.is_ascii_alphanumeric() || c == '_';
        part.starts_with(is_end) && part.ends_with(is_end) && part.chars().all(|c| is_end(c) || "-.".contains(c))
    };
    let parts = text.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
    parts && text.len() <= MAX_LENGTH && !text.contains("--") && !text.contains("..") && !text.ends_with(".git")
}

/// What may name a file below `refs`: git's names, of plain letters.
fn is_revision(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
    text.split('/').all(part) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_hubs() {
        for text in ["openai/clip-vit-base-patch32", "a/b", "_a/b_1.c", "a/b@main", "a/b@v1.0", "a/b@refs/pr/15"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        let long = format!("a/{}", "b".repeat(MAX_LENGTH));
        for text in [
            "",
            "a",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "./a",
            "../a",
            "a/..",
            "a/.b",
            "a/b.",
            "a/-b",
            "a/b-",
            "a/b--c",
            "a/b..c",
            "a b/c",
            "a/b.git",
            "ä/b",
            "a\\b/c",
            "~/a",
            "a/b@",
            "a/b@.x",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x/",
            "a/b@x y",
            "a/b@x@y",
            "a/b@x..y",
            "a/b@x//y",
            "a/b@x%2Fy",
            "http://a/b",
            &long,
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
