//! The fields of a JSON object, every one of which must be accounted for.

use super::MAX_DIMENSION;
use super::irrelevant::is_irrelevant;
use crate::backend::Activation;
use crate::error::{Error, Result};
use crate::model::source::Source;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A JSON object of a configuration file, which remembers what was read of it: [`Fields::finish`] refuses the rest.
///
/// A field that is null counts as missing, as in the libraries that write these files.
pub(super) struct Fields {
    path: PathBuf,
    /// Where in the file the object is: `vision_config.`, or empty.
    prefix: String,
    object: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Fields {
    pub(super) fn open(source: &Source, name: &str) -> Result<Self> {
        let (path, bytes) = (source.path(name), source.read(name)?);
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self::new(&path, String::new(), object)),
            Ok(other) => Err(Error::file(&path, "config", kind(&other), "a JSON object")),
            Err(error) => Err(Error::parse(&path, "config", error, "a JSON object")),
        }
    }

    fn new(path: &Path, prefix: String, object: Map<String, Value>) -> Self {
        Self { path: path.to_owned(), prefix, object, read: RefCell::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A field, unless it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(name.to_string());
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A nested object, where there is one.
    pub(super) fn section(&self, name: &str) -> Result<Option<Self>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                Ok(Some(Self::new(&self.path, format!("{}{name}.", self.prefix), object.clone())))
            }
            Some(other) => Err(self.malformed(name, other, "a JSON object")),
        }
    }

    /// A nested object; one without fields where it is missing.
    pub(super) fn section_or_empty(&self, name: &str) -> Result<Self> {
        let empty = || Self::new(&self.path, format!("{}{name}.", self.prefix), Map::new());
        Ok(self.section(name)?.unwrap_or_else(empty))
    }

    /// Refuses what was not read, unless it cannot change an embedding.
    pub(super) fn finish(self) -> Result<()> {
        let read = self.read.borrow();
        let unread = |(name, value): &(&String, &Value)| {
            !value.is_null() && !read.contains(*name) && !is_irrelevant(&self.prefix, name)
        };
        match self.object.iter().find(unread) {
            None => Ok(()),
            Some((name, value)) => Err(self.unsupported(name, value, "no such field: its meaning is not known here")),
        }
    }

    /// A value that is understood and not implemented.
    pub(super) fn unsupported(&self, name: &str, found: &Value, expected: impl Into<String>) -> Error {
        let field = format!("{}{name}", self.prefix);
        Error::UnsupportedField { path: self.path.clone(), field, found: found.to_string(), expected: expected.into() }
    }

    /// A value that cannot be what the field is for.
    pub(super) fn malformed(&self, name: &str, found: &Value, expected: impl Into<String>) -> Error {
        Error::file(&self.path, format!("{}{name}", self.prefix), found.to_string(), expected)
    }

    /// A field, unless it is missing or null; refused if its value is not among the `implemented` ones.
    pub(super) fn only<T: Into<Value> + Clone>(&self, name: &str, implemented: &[T]) -> Result<Option<&Value>> {
        let implemented: Vec<Value> = implemented.iter().cloned().map(Into::into).collect();
        match self.get(name) {
            Some(value) if !implemented.contains(value) => {
                let list: Vec<String> = implemented.iter().map(Value::to_string).collect();
                let expected = if list.is_empty() { "no such field".into() } else { list.join(" or ") };
                Err(self.unsupported(name, value, expected))
            }
            value => Ok(value),
        }
    }

    /// A field as `parse` converts it, `default` where it is missing; refused as not `expected` where `parse` gives
    /// none.
    fn parsed<T>(
        &self,
        name: &str,
        default: T,
        expected: impl Into<String>,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T> {
        let Some(value) = self.get(name) else { return Ok(default) };
        parse(value).ok_or_else(|| self.malformed(name, value, expected))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        self.parsed(name, default, "true or false", Value::as_bool)
    }

    /// A whole number from 1 to `MAX_DIMENSION`.
    pub(super) fn count(&self, name: &str, default: usize) -> Result<usize> {
        self.parsed(name, default, format!("a whole number from 1 to {MAX_DIMENSION}"), count)
    }

    /// The side of a square: a whole number, or a list of two equal ones.
    pub(super) fn side(&self, name: &str, default: usize) -> Result<u32> {
        let side = match self.get(name) {
            Some(value @ Value::Array(sides)) => match sides.as_slice() {
                [height, width] if height == width => count(height)
                    .ok_or_else(|| self.malformed(name, value, format!("whole numbers from 1 to {MAX_DIMENSION}")))?,
                _ => return Err(self.unsupported(name, value, "a square: one number, or two that are equal")),
            },
            _ => self.count(name, default)?,
        };
        Ok(side as u32)
    }

    /// A positive number.
    pub(super) fn number(&self, name: &str, default: f64) -> Result<f64> {
        let positive = |value: &Value| value.as_f64().filter(|&number| number > 0.0 && number < 1e6);
        self.parsed(name, default, "a positive number", positive)
    }

    /// Three numbers, one a channel, or one for all of them, in a range.
    pub(super) fn triple(&self, name: &str, default: [f32; 3], range: std::ops::Range<f64>) -> Result<[f64; 3]> {
        let number = |n: &Value| n.as_f64().filter(|n| range.contains(n));
        self.parsed(name, default.map(f64::from), format!("three numbers in {range:?}"), |value| match value {
            Value::Array(list) => list.iter().map(number).collect::<Option<Vec<_>>>()?.try_into().ok(),
            one => number(one).map(|number| [number; 3]),
        })
    }

    pub(super) fn activation(&self, name: &str, default: Activation) -> Result<Activation> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_str()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| self.unsupported(name, value, "quick_gelu, gelu or gelu_tanh")),
        }
    }
}

/// A dimension that a config may ask for.
pub(super) fn count(value: &Value) -> Option<usize> {
    value.as_u64().filter(|count| (1..=MAX_DIMENSION).contains(count)).map(|count| count as usize)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
