//! A rectangle that becomes a view, and the boxes file.

use crate::error::{Error, Result};
use serde::Serialize;
use std::path::Path;

/// A rectangle of pixels. serde writes it as `[x, y, width, height]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "[u32; 4]")]
pub struct CropBox {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

impl CropBox {
    /// A box of `width × height` with its upper left corner at `(x, y)`.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// Reads a JSON list of `[x, y, width, height]`, in pixels of the decoded picture. `file` is for messages.
    ///
    /// # Errors
    /// When it is not such a list, a number is not whole, negative or too large, or a side is empty.
    pub fn list_from_json(json: &str, file: &Path) -> Result<Vec<Self>> {
        let expected = "a list of [x, y, width, height] with whole numbers";
        let lists: Vec<serde_json::Value> =
            serde_json::from_str(json).map_err(|error| Error::file(file, "boxes", error.to_string(), expected))?;
        let parse = |(i, list): (usize, &serde_json::Value)| {
            let numbers: Option<Vec<u32>> = list
                .as_array()
                .and_then(|list| list.iter().map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect());
            match numbers.as_deref() {
                Some(&[x, y, width, height]) if width > 0 && height > 0 => Ok(Self { x, y, width, height }),
                _ => Err(Error::file(
                    file,
                    format!("box {i}"),
                    list.to_string(),
                    "[x, y, width, height]: whole numbers, not negative, sides at least 1",
                )),
            }
        };
        lists.iter().enumerate().map(parse).collect()
    }
}

impl From<CropBox> for [u32; 4] {
    /// `[x, y, width, height]`.
    fn from(CropBox { x, y, width, height }: CropBox) -> Self {
        [x, y, width, height]
    }
}
