//! Classes and their descriptions.

use crate::error::{Error, Result};
use crate::text_file;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use std::collections::HashSet;
use std::path::Path;

/// A class and what describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The class's name, as it goes into the label prompt.
    pub name: String,
    /// Descriptions; duplicates count each time.
    pub descriptions: Vec<String>,
}

/// The classes to tell apart, with descriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    classes: Vec<Class>,
    from_templates: bool,
}

impl Prompts {
    /// Reads a JSON object of classes.
    ///
    /// A class has descriptions in one of three forms: `["description", …]`; a `"description"` alone; or
    /// `{"prompt": ["description", …], …}`, by the language model's prompt as in CuPL's files: all are used, in order.
    ///
    /// # Errors
    /// When the JSON is not that, has an entry that is not text, a class twice or without descriptions.
    ///
    /// ```
    /// use crossalign::Prompts;
    /// let described = Prompts::from_json(r#"{"cat": ["whiskers"], "dog": ["a wet nose", "a wagging tail"]}"#)?;
    /// assert_eq!(described.classes()[1].descriptions.len(), 2);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn from_json(json: &str) -> Result<Self> {
        Self::parse(json, None)
    }

    /// As [`Prompts::from_json`], with only the classes named by `labels`, in their order; or a JSON list of templates,
    /// whose `{}` the labels fill.
    ///
    /// # Errors
    /// As [`Prompts::from_json`]; when a label is not in the object, or is given twice.
    ///
    /// ```
    /// use crossalign::Prompts;
    /// let filled = Prompts::from_json_with_labels(r#"["a drawing of a {}."]"#, &["cat", "dog"])?;
    /// assert_eq!(filled.classes()[0].descriptions, ["a drawing of a cat."]);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn from_json_with_labels(json: &str, labels: &[impl AsRef<str>]) -> Result<Self> {
        Self::parse(json, Some(&texts(labels)))
    }

    /// Reads a prompts file, UTF-8 with or without a byte order mark; see [`Prompts::from_json`].
    ///
    /// # Errors
    /// As [`Prompts::from_json`], or when the file cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json(&text_file::read(path)?).map_err(|error| error.in_file(path))
    }

    /// Reads a prompts file with labels; see [`Prompts::from_json_with_labels`].
    ///
    /// # Errors
    /// As [`Prompts::from_json_with_labels`], or when the file cannot be read.
    pub fn open_with_labels(path: impl AsRef<Path>, labels: &[impl AsRef<str>]) -> Result<Self> {
        let path = path.as_ref();
        Self::from_json_with_labels(&text_file::read(path)?, labels).map_err(|error| error.in_file(path))
    }

    /// One class a label, each described by all templates with the label in place of their `{}`.
    ///
    /// # Errors
    /// When there are no templates, one without `{}`, no labels, an empty one, or one twice.
    pub fn from_templates(templates: &[impl AsRef<str>], labels: &[impl AsRef<str>]) -> Result<Self> {
        Self::filled(&texts(templates), &texts(labels))
    }

    /// Classes without descriptions: enough for [`Method::Clip`](super::Method::Clip).
    ///
    /// # Errors
    /// When there are no labels, an empty one, or one twice.
    pub fn from_labels(labels: &[impl AsRef<str>]) -> Result<Self> {
        let class = |name: &str| Class { name: name.into(), descriptions: Vec::new() };
        Self::checked(texts(labels).into_iter().map(class).collect(), false)
    }

    /// The classes, in order.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Whether the descriptions are filled templates.
    pub fn are_templates(&self) -> bool {
        self.from_templates
    }

    /// Reads labels: a JSON list of texts, or one class a line. Lines are trimmed, and blank ones skipped.
    ///
    /// # Errors
    /// When it begins like JSON but is not a list of texts, or is a single line with commas: a list that would be read
    /// as one class.
    ///
    /// ```
    /// use crossalign::Prompts;
    /// assert_eq!(Prompts::labels_from_text("cat\r\n\r\nnight sky\r\n")?, ["cat", "night sky"]);
    /// assert_eq!(Prompts::labels_from_text(r#"["cat", "night sky"]"#)?, ["cat", "night sky"]);
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn labels_from_text(text: &str) -> Result<Vec<String>> {
        let expected = "a JSON list of texts, or one class a line";
        if text.trim_start().starts_with(['[', '{']) {
            return serde_json::from_str(text).map_err(|error| Error::argument("labels", error.to_string(), expected));
        }
        let lines: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
        match &lines[..] {
            [line] if line.contains(',') => Err(Error::argument("labels", format!("the one line {line:?}"), expected)),
            _ => Ok(lines),
        }
    }

    fn parse(json: &str, labels: Option<&[&str]>) -> Result<Self> {
        let file: PromptFile = serde_json::from_str(json).map_err(|error| {
            let expected = "a JSON object {\"class\": [\"description\", …]} or a JSON list of templates";
            Error::argument("prompts", error.to_string(), expected)
        })?;
        match (file, labels) {
            (PromptFile::Described(classes), labels) => Self::described(classes, labels),
            (PromptFile::Templates(templates), Some(labels)) => Self::filled(&texts(&templates), labels),
            (PromptFile::Templates(_), None) => {
                Err(Error::argument("prompts", "a list of templates alone", "labels to fill them with"))
            }
        }
    }

    fn described(classes: Vec<Class>, labels: Option<&[&str]>) -> Result<Self> {
        if let Some(class) = classes.iter().find(|class| class.descriptions.is_empty()) {
            return Err(Error::argument(format!("class {:?}", class.name), "no descriptions", "at least one"));
        }
        let all = Self::checked(classes, false)?;
        let Some(labels) = labels else { return Ok(all) };
        let find = |label: &&str| {
            let class = all.classes.iter().find(|class| class.name == *label);
            class.cloned().ok_or_else(|| Error::argument("labels", format!("{label:?}"), "classes of the prompts file"))
        };
        Self::checked(labels.iter().map(find).collect::<Result<_>>()?, false)
    }

    fn filled(templates: &[&str], labels: &[&str]) -> Result<Self> {
        if templates.is_empty() {
            return Err(Error::argument("prompts", "an empty list", "at least one template"));
        }
        if let Some(template) = templates.iter().find(|template| !template.contains("{}")) {
            return Err(Error::argument("template", format!("{template:?}"), "{} where the label goes"));
        }
        let class = |name: &&str| Class {
            name: name.to_string(),
            descriptions: templates.iter().map(|template| template.replace("{}", name)).collect(),
        };
        Self::checked(labels.iter().map(class).collect(), true)
    }

    fn checked(classes: Vec<Class>, from_templates: bool) -> Result<Self> {
        let prompts = Self { classes, from_templates };
        prompts.check()?;
        Ok(prompts)
    }

    /// Refuses prompts without classes, and empty or duplicate class names.
    pub(super) fn check(&self) -> Result<()> {
        if self.classes.is_empty() {
            return Err(Error::argument("prompts", "no classes", "at least one"));
        }
        let mut seen = HashSet::new();
        for class in &self.classes {
            if class.name.trim().is_empty() {
                return Err(Error::argument("class name", format!("{:?}", class.name), "a name"));
            }
            if !seen.insert(&class.name) {
                return Err(Error::argument("class name", format!("{:?} twice", class.name), "each class once"));
            }
        }
        Ok(())
    }
}

/// Classes with their descriptions, from memory. They are checked only when compiled: there must be at least one, with
/// distinct names that are not empty.
///
/// ```
/// use crossalign::Prompts;
/// let prompts = Prompts::from_iter([("cat", ["whiskers", "pointed ears"]), ("dog", ["a wet nose", "a wagging tail"])]);
/// assert_eq!(prompts.classes()[1].name, "dog");
/// ```
impl<N: Into<String>, D: IntoIterator<Item: Into<String>>> FromIterator<(N, D)> for Prompts {
    fn from_iter<I: IntoIterator<Item = (N, D)>>(classes: I) -> Self {
        let class = |(name, descriptions): (N, D)| {
            let descriptions = descriptions.into_iter().map(Into::into).collect();
            Class { name: name.into(), descriptions }
        };
        Self { classes: classes.into_iter().map(class).collect(), from_templates: false }
    }
}

fn texts(texts: &[impl AsRef<str>]) -> Vec<&str> {
    texts.iter().map(AsRef::as_ref).collect()
}

/// The two forms of a prompts file. An object's order and duplicate keys are kept, so that duplicates are refused.
enum PromptFile {
    Described(Vec<Class>),
    Templates(Vec<String>),
}

impl<'de> Deserialize<'de> for PromptFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FileVisitor;
        impl<'de> Visitor<'de> for FileVisitor {
            type Value = PromptFile;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of classes or a list of templates")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PromptFile, A::Error> {
                let mut classes = Vec::new();
                while let Some((name, Descriptions::<true>(descriptions))) = map.next_entry()? {
                    classes.push(Class { name, descriptions });
                }
                Ok(PromptFile::Described(classes))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<PromptFile, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(PromptFile::Templates)
            }
        }
        deserializer.deserialize_any(FileVisitor)
    }
}

/// A class's descriptions: a text or a list of texts; with `BY_PROMPT` also an object of these.
struct Descriptions<const BY_PROMPT: bool>(Vec<String>);

impl<'de, const BY_PROMPT: bool> Deserialize<'de> for Descriptions<BY_PROMPT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DescriptionsVisitor<const BY_PROMPT: bool>;
        impl<'de, const BY_PROMPT: bool> Visitor<'de> for DescriptionsVisitor<BY_PROMPT> {
            type Value = Descriptions<BY_PROMPT>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(if BY_PROMPT { "descriptions, or objects of them by prompt" } else { "descriptions" })
            }

            fn visit_str<E>(self, description: &str) -> Result<Self::Value, E> {
                Ok(Descriptions(vec![description.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Descriptions)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                if !BY_PROMPT {
                    return Err(A::Error::invalid_type(Unexpected::Map, &self));
                }
                let mut all = Vec::new();
                while let Some((_, Descriptions::<false>(descriptions))) = map.next_entry::<String, _>()? {
                    all.extend(descriptions);
                }
                Ok(Descriptions(all))
            }
        }
        deserializer.deserialize_any(DescriptionsVisitor)
    }
}
