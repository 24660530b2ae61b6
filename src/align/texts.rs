//! What a classifier keeps of its classes' texts: one vector a class, or the texts themselves.

use crate::engine::Embeddings;
use crate::error::{Error, Result};
use std::ops::Range;

/// The least weight of a text, negligible in any sum. A softmax may underflow below it, but a weight of 0 would mask
/// the text out of a maximum, and GPUs flush f32's subnormals to 0.
pub(super) const LEAST_WEIGHT: f32 = 1e-30;

/// What a classifier keeps of its classes' texts.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// One vector a class, `[classes, D]`: their weighted mean, all that [`Reduction::WeightedMean`] needs.
    ///
    /// [`Reduction::WeightedMean`]: crate::backend::Reduction::WeightedMean
    Vectors(Embeddings),
    /// The texts, with which every reduction and [`Classifier::explain`](super::Classifier::explain) work.
    Texts(Texts),
}

impl Kept {
    /// The rows that pictures are compared with.
    pub fn rows(&self) -> &Embeddings {
        match self {
            Self::Vectors(vectors) => vectors,
            Self::Texts(texts) => &texts.embeddings,
        }
    }

    /// All numbers that scores depend on.
    #[cfg(feature = "cli")]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &f32> {
        let weights: &[f32] = match self {
            Self::Vectors(_) => &[],
            Self::Texts(texts) => &texts.weights,
        };
        self.rows().data.iter().chain(weights)
    }

    /// Checks the shapes against the number of classes, that embeddings are finite, and the range of weights.
    pub(super) fn check(&self, classes: usize) -> Result<()> {
        let wrong = |name: &str, found: String, expected: &str| Err(Error::argument(name, found, expected));
        let rows = self.rows();
        let count = match self {
            Self::Vectors(_) => classes,
            Self::Texts(texts) => {
                let (offsets, count) = (&texts.offsets, texts.texts.len());
                let (first, last) = (offsets.first(), offsets.last().map(|&last| last as usize));
                if offsets.len() != classes + 1 || first != Some(&0) || last != Some(count) {
                    let found = format!("{} from {first:?} to {last:?}", offsets.len());
                    return wrong("text offsets", found, &format!("{} from 0 to {count}", classes + 1));
                }
                if let Some(class) = offsets.windows(2).position(|bounds| bounds[0] >= bounds[1]) {
                    return wrong("text offsets", format!("no texts of class {class}"), "at least one");
                }
                if texts.weights.len() != count {
                    return wrong("text weights", texts.weights.len().to_string(), &count.to_string());
                }
                if let Some(weight) = texts.weights.iter().find(|weight| !(LEAST_WEIGHT..=1.0).contains(*weight)) {
                    return wrong("text weights", weight.to_string(), &format!("numbers from {LEAST_WEIGHT:e} to 1"));
                }
                count
            }
        };
        if count == 0 || rows.width == 0 || rows.data.len() != count * rows.width {
            let found = format!("{} numbers in rows of {}", rows.data.len(), rows.width);
            return wrong("embeddings", found, &format!("{count} rows, at least one, none empty"));
        }
        match rows.data.iter().find(|value| !value.is_finite()) {
            Some(value) => wrong("embeddings", value.to_string(), "finite numbers"),
            None => Ok(()),
        }
    }
}

/// The texts of all classes, class after class.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// The texts, with duplicates.
    pub texts: Vec<String>,
    /// One row a text, of unit length: `[texts, D]`.
    pub embeddings: Embeddings,
    /// `vⱼ`, one a text; those of a class sum to 1.
    pub weights: Vec<f32>,
    /// Class `c` owns the texts `offsets[c] .. offsets[c + 1]`, at least one.
    pub offsets: Vec<u32>,
}

impl Texts {
    /// The texts of a class.
    pub(super) fn of_class(&self, class: usize) -> Range<usize> {
        self.offsets[class] as usize..self.offsets[class + 1] as usize
    }

    /// `Σ vⱼ gⱼ` of each class, summed in f64; of unit length with `unit`.
    pub(super) fn folded(&self, unit: bool) -> Embeddings {
        let width = self.embeddings.width;
        let vector = |class| {
            let mut sum = vec![0f64; width];
            for text in self.of_class(class) {
                let weight = f64::from(self.weights[text]);
                sum.iter_mut().zip(self.embeddings.row(text)).for_each(|(sum, &x)| *sum += weight * f64::from(x));
            }
            let mut vector: Vec<f32> = sum.into_iter().map(|x| x as f32).collect();
            if unit {
                make_unit(&mut vector);
            }
            vector
        };
        Embeddings { width, data: (0..self.offsets.len() - 1).flat_map(vector).collect() }
    }
}

/// Scales to unit length; a zero vector stays zero.
fn make_unit(vector: &mut [f32]) {
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32;
    let length = length.max(1e-12); // eps of PyTorch's F.normalize
    vector.iter_mut().for_each(|x| *x /= length);
}
