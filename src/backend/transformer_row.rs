//! Sizes of a transformer's rows, from which a device derives how many make a batch.

use super::Precision;

/// The sizes of a row (a token) in a transformer, from which a device derives how many make a batch.
#[derive(Clone, Copy, Debug)]
pub struct TransformerRow {
    /// Elements of the residual stream, and outputs of the narrowest layer.
    pub width: usize,
    /// Elements of the MLP's hidden layer.
    pub hidden: usize,
    /// Elements of the patch matrix; 0 for texts.
    pub patch: usize,
    /// The precision that activations are requested in, see [`Backend::activation`](super::Backend::activation).
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
        // The input of the vision tower's pre-norm is f32 whatever the precision.
        let pre_norm = if self.patch > 0 { size_of::<f32>() * self.width } else { 0 };
        pre_norm + activation * (self.of_a_block() + self.patch)
    }
}
