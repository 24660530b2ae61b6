//! Rows of f32 outside a device.

/// Rows of f32, one an item.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Elements of a row.
    pub width: usize,
    /// All rows, one after the other.
    pub data: Vec<f32>,
}

impl Embeddings {
    /// The rows.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.width)
    }

    /// One row.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..][..self.width]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.width
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// What [`Model::encode_texts`](super::Model::encode_texts) gives.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEmbeddings {
    /// One row a text.
    pub embeddings: Embeddings,
    /// How many texts were longer than the model's context and lost their end.
    pub truncated: usize,
}
