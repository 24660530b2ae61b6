//! What a batch's rows take, for a device to tell how many it wants.

use super::Precision;

/// What a row (a token) takes in a transformer: a device tells from it how many make a batch.
#[derive(Clone, Copy, Debug)]
pub struct TransformerRow {
    /// Elements of the residual stream, and outputs of the narrowest layer.
    pub width: usize,
    /// Elements of the MLP's middle.
    pub hidden: usize,
    /// Elements of the patch matrix.
    pub patch: usize,
    /// How many tensors of `width` are f32 whatever the precision.
    pub streams: usize,
    /// What the other ones are asked for in, see [`Backend::activation`](super::Backend::activation).
    pub precision: Precision,
}

impl TransformerRow {
    /// Elements that a block's kernels read and write: the stream, the layer norm's output, queries, keys, values, what is
    /// attended, and the MLP's middle.
    pub fn of_a_block(self) -> usize {
        6 * self.width + self.hidden
    }

    /// Bytes of all tensors, with activations of so many bytes an element.
    pub fn bytes(self, activation: usize) -> usize {
        size_of::<f32>() * self.streams * self.width + activation * (self.of_a_block() - self.width + self.patch)
    }
}
