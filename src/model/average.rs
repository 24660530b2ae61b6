//! Average pooling: the mean of each view's patch tokens, by the attention kernel, so that no backend needs another
//! one.

use super::transformer::{gather, linear};
use crate::backend::args::AttentionArgs;
use crate::backend::{Backend, Epilogue, Precision, Shape, Shaped};
use crate::error::Result;
use crate::lock::lock;
use std::sync::Mutex;

/// Attention whose queries are zero gives every key the same weight: its output is the mean of the values. All of it is
/// f32, since few models pool like this.
pub(crate) struct Average<B: Backend> {
    heads: usize,
    /// `[width, width]` of zeros: makes the queries.
    zero: B::Linear,
    /// Two identities, `[2 width, width]`: copies a row to its key, which does not matter, and its value.
    copy: B::Linear,
    space: Mutex<Space<B>>,
}

struct Space<B: Backend> {
    /// First the class tokens' rows, then the patches'.
    rows: B::Tensor,
    queries: B::Tensor,
    keys_values: B::Tensor,
}

impl<B: Backend> Average<B> {
    /// `heads` divides `width`, and gives heads that are not too wide for the attention kernels.
    pub(crate) fn new(device: &B, width: usize, heads: usize) -> Result<Self> {
        let mut copy = vec![0.0; 2 * width * width];
        (0..2 * width).for_each(|row| copy[row * width + row % width] = 1.0);
        let pack = |rows, weight: &[f32]| device.pack(Shape::new(rows, width), weight, None, Precision::F32);
        let tensor = || device.allocate(Shape::new(0, 0));
        Ok(Self {
            heads,
            zero: pack(width, &vec![0.0; width * width])?,
            copy: pack(2 * width, &copy)?,
            space: Mutex::new(Space { rows: tensor()?, queries: tensor()?, keys_values: tensor()? }),
        })
    }

    /// Replaces the rows of each view, `tokens` each, by the mean of all but the first, its class token. `tensor` is f32.
    pub(crate) fn apply(&self, device: &B, tensor: &mut B::Tensor, tokens: usize) -> Result<()> {
        let Shape { rows: count, cols: width } = tensor.shape();
        let views = count / tokens;
        let mut space = lock(&self.space);
        let Space { rows, queries, keys_values } = &mut *space;
        let (classes, patches): (Vec<u32>, Vec<u32>) =
            (0..count as u32).partition(|row| (*row as usize).is_multiple_of(tokens));
        gather(device, tensor, &classes, rows)?;
        linear(device, rows, &self.zero, Epilogue::Store, queries)?;
        gather(device, tensor, &patches, rows)?;
        linear(device, rows, &self.copy, Epilogue::Store, keys_values)?;
        let offsets = |step: usize| (0..=views).map(|view| (view * step) as u32).collect::<Vec<_>>();
        device.reshape(tensor, Shape::new(views, width))?;
        device.attention(AttentionArgs {
            queries,
            keys_values,
            query_offsets: &offsets(1),
            key_offsets: &offsets(tokens - 1),
            heads: self.heads,
            causal: false,
            out: tensor,
        })
    }
}
