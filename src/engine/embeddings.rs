//! Rows of f32 in host memory.

use serde::Serialize;

/// Rows of f32, one an item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Embeddings {
    /// Elements of a row.
    pub width: usize,
    /// `[rows, width]`, row-major.
    pub data: Vec<f32>,
}

impl Embeddings {
    /// The rows.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.width.max(1))
    }

    /// Row `i`; panics when there is none.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.width..][..self.width]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows().len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

/// The result of [`Model::encode_texts`](super::Model::encode_texts).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextEmbeddings {
    /// One row a text.
    pub embeddings: Embeddings,
    /// How many texts were longer than the model's context and lost their end.
    pub truncated: usize,
}

/// Conversions to and from arrays `[rows, width]` of the crate `ndarray`.
#[cfg(feature = "ndarray")]
mod arrays {
    use super::Embeddings;
    use ndarray::{Array2, ArrayView2};

    impl<'a> From<&'a Embeddings> for ArrayView2<'a, f32> {
        /// Without a copy.
        fn from(embeddings: &'a Embeddings) -> Self {
            let shape = (embeddings.len(), embeddings.width);
            ArrayView2::from_shape(shape, &embeddings.data[..shape.0 * shape.1]).expect("whole rows")
        }
    }

    impl From<Embeddings> for Array2<f32> {
        /// Without a copy.
        fn from(mut embeddings: Embeddings) -> Self {
            let shape = (embeddings.len(), embeddings.width);
            embeddings.data.truncate(shape.0 * shape.1);
            Array2::from_shape_vec(shape, embeddings.data).expect("whole rows")
        }
    }

    impl From<ArrayView2<'_, f32>> for Embeddings {
        /// The rows in order, whatever the array's layout is.
        fn from(array: ArrayView2<'_, f32>) -> Self {
            Self { width: array.ncols(), data: array.iter().copied().collect() }
        }
    }

    #[test]
    fn rows_stay_rows() {
        let embeddings = Embeddings { width: 3, data: (0..6u8).map(f32::from).collect() };
        let view = ArrayView2::from(&embeddings);
        assert_eq!((view.dim(), view[(1, 0)]), ((2, 3), 3.0));
        let turned = Embeddings::from(view.reversed_axes());
        assert_eq!((turned.width, &turned.data[..]), (2, &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]));
        assert_eq!(Array2::from(embeddings.clone()), view);
        let none = Embeddings { width: 0, data: vec![] };
        assert_eq!((none.len(), ArrayView2::from(&none).dim()), (0, (0, 0)));
    }
}
