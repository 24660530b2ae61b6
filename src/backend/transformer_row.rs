//! Sizes of a transformer's rows, from which a device derives how many make a batch.

use super::Precision;

/// The sizes of a row (a token) in a transformer, from which a device derives how many make a batch.
#[derive(Clone, Copy, Debug)]
pub struct TransformerRow {
    /// Elements of the residual stream, and outputs of the narrowest layer.
    pub width: usize,
    /// Elements of the MLP's hidden layer.
    pub hidden: usize,
    /// Elements of the patch matrix.
    pub patch: usize,
    /// How many tensors of `width` columns are f32 whatever the precision.
    pub streams: usize,
    /// The precision that the other tensors are requested in, see [`Backend::activation`](super::Backend::activation).
    pub precision: Precision,
}

impl TransformerRow {
    /// Elements that a block's kernels read and write: the stream, the layer norm's output, queries, keys, values, the
    /// attention's output, and the MLP's hidden layer.
    pub fn of_a_block(self) -> usize {
        6 * self.width + self.hidden
    }

    /// Bytes of a row in all tensors, with activations of `activation` bytes an element.
    pub fn bytes(self, activation: usize) -> usize {
        size_of::<f32>() * self.streams * self.width + activation * (self.of_a_block() - self.width + self.patch)
    }
}
