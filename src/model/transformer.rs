//! CLIP's transformer, written once for both towers and all backends.

use super::config::TowerConfig;
use super::layout::{BlockPart, Layout, LinearWeights, Tower, read_linear};
use super::weights::Weights;
use crate::backend::args::{AttentionArgs, GatherRowsArgs, L2NormalizeArgs, LayerNormArgs, LinearArgs};
use crate::backend::{Backend, Epilogue, Precision, Shape, Shaped, TransformerRow};
use crate::error::{Error, Result};
use crate::lock::lock;
use std::sync::Mutex;

/// Loads weights from files onto a device.
pub(crate) struct Loader<'a, B> {
    pub(crate) device: &'a B,
    pub(crate) weights: &'a dyn Weights,
    pub(crate) layout: Layout,
    pub(crate) precision: Precision,
}

impl<B: Backend> Loader<'_, B> {
    /// Uploads a matrix, or a vector as `[1, len]`, without packing it.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<B::Tensor> {
        let data = self.weights.read(name, shape)?;
        let cols = shape.last().copied().unwrap_or(1);
        self.device.upload(Shape::new(data.len() / cols, cols), &data)
    }

    pub(crate) fn norm(&self, name: &str, width: usize, eps: f32) -> Result<Norm<B>> {
        Ok(Norm {
            gamma: self.tensor(&format!("{name}.weight"), &[width])?,
            beta: self.tensor(&format!("{name}.bias"), &[width])?,
            eps,
        })
    }

    pub(crate) fn pack(&self, layer: LinearWeights, inputs: usize) -> Result<B::Linear> {
        let shape = Shape::new(layer.weight.len() / inputs, inputs);
        self.device.pack(shape, &layer.weight, layer.bias.as_deref(), self.precision)
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<B::Linear> {
        self.pack(read_linear(self.weights, name, outputs, inputs)?, inputs)
    }
}

/// A layer norm's parameters.
pub(crate) struct Norm<B: Backend> {
    gamma: B::Tensor,
    beta: B::Tensor,
    eps: f32,
}

impl<B: Backend> Norm<B> {
    pub(crate) fn apply(&self, device: &B, input: &B::Tensor, out: &mut B::Tensor) -> Result<()> {
        device.reshape(out, input.shape())?;
        device.layer_norm(LayerNormArgs { input, gamma: &self.gamma, beta: &self.beta, eps: self.eps, out })
    }
}

/// Attention and MLP, each behind a layer norm and beside a residual connection.
struct Block<B: Backend> {
    norm1: Norm<B>,
    query: B::Linear,
    key_value: B::Linear,
    output: B::Linear,
    norm2: Norm<B>,
    up: B::Linear,
    down: B::Linear,
}

/// A tower's blocks.
pub(crate) struct Transformer<B: Backend> {
    config: TowerConfig,
    causal: bool,
    precision: Precision,
    blocks: Vec<Block<B>>,
}

/// Activations of one batch, allocated once and reused. `pooled` is f32, the others may be kept in the weights'
/// precision.
pub(crate) struct Workspace<B: Backend> {
    /// The recorded forward pass of the vision tower; the first field, to be dropped before the tensors that it uses.
    pub(crate) recording: B::Recording,
    /// The residual stream. In f16 too, if this is the precision: real CLIPs keep it far below 65,504, and scores that
    /// are not finite are refused.
    pub(crate) stream: B::Tensor,
    /// The pooled rows of the stream; before the blocks, the input of the vision tower's pre-norm.
    pub(crate) pooled: B::Tensor,
    /// The patch matrix of the vision tower.
    pub(crate) input: B::Tensor,
    /// The output of a layer norm.
    pub(crate) normed: B::Tensor,
    queries: B::Tensor,
    keys_values: B::Tensor,
    attended: B::Tensor,
    /// The middle of an MLP.
    pub(crate) hidden: B::Tensor,
    precision: Precision,
}

impl<B: Backend> Workspace<B> {
    pub(crate) fn new(device: &B, precision: Precision) -> Result<Self> {
        let activation = || device.activation(precision);
        Ok(Self {
            recording: Default::default(),
            stream: activation()?,
            pooled: device.allocate(Shape::new(0, 0))?,
            input: activation()?,
            normed: activation()?,
            queries: activation()?,
            keys_values: activation()?,
            attended: activation()?,
            hidden: activation()?,
            precision,
        })
    }

    /// Frees its memory.
    pub(crate) fn release(&mut self, device: &B) -> Result<()> {
        *self = Self::new(device, self.precision)?;
        Ok(())
    }
}

impl<B: Backend> Transformer<B> {
    pub(crate) fn load(loader: &Loader<'_, B>, tower: Tower, config: &TowerConfig, causal: bool) -> Result<Self> {
        let TowerConfig { width, layers, mlp, eps, layer_scale, .. } = *config;
        let (layout, weights) = (loader.layout, loader.weights);
        let there = layout.count_blocks(weights, tower);
        if there != layers {
            let expected = format!("{layers}, by the config");
            return Err(Error::file(weights.path(), format!("{tower:?} blocks"), there.to_string(), expected));
        }
        let block = |index| {
            let name = |part| layout.block_part(tower, index, part);
            let (query, key_value) = layout.query_key_value(weights, tower, index, width)?;
            let mut output = read_linear(weights, &name(BlockPart::Output), width, width)?;
            let mut down = read_linear(weights, &name(BlockPart::Down), width, mlp)?;
            if layer_scale {
                for (layer, scale) in [&mut output, &mut down].into_iter().zip(layout.layer_scale(tower, index)) {
                    layer.scale_outputs(&weights.read(&scale, &[width])?);
                }
            }
            Ok(Block {
                norm1: loader.norm(&name(BlockPart::Norm1), width, eps)?,
                query: loader.pack(query, width)?,
                key_value: loader.pack(key_value, width)?,
                output: loader.pack(output, width)?,
                norm2: loader.norm(&name(BlockPart::Norm2), width, eps)?,
                up: loader.linear(&name(BlockPart::Up), mlp, width)?,
                down: loader.pack(down, mlp)?,
            })
        };
        let blocks = (0..layers).map(block).collect::<Result<_>>()?;
        Ok(Self { config: config.clone(), causal, precision: loader.precision, blocks })
    }

    /// Rows of a batch that the device prefers; `patch`: the columns of the tower's patch matrix, 0 for texts.
    pub(crate) fn batch_rows(&self, device: &B, patch: usize) -> usize {
        let &TowerConfig { width, mlp: hidden, .. } = &self.config;
        device.preferred_rows(TransformerRow { width, hidden, patch, precision: self.precision })
    }

    /// Runs `space.stream` through all blocks and leaves the rows `pooled` of the result in `space.pooled`; without
    /// `pooled`, all rows stay in `space.stream`.
    ///
    /// Sequence `s` owns the rows `offsets[s] .. offsets[s + 1]`; `pooled` has one row of each sequence, its last
    /// one where the attention is causal. The last block computes those rows only, once it has all keys and values.
    pub(crate) fn forward(
        &self,
        device: &B,
        space: &mut Workspace<B>,
        offsets: &[u32],
        pooled: Option<&[u32]>,
    ) -> Result<()> {
        let Workspace { stream, pooled: pooled_stream, normed, queries, keys_values, attended, hidden, .. } = space;
        let one_each: Vec<u32> = (0..offsets.len() as u32).collect();
        let activate = Epilogue::Activate(self.config.activation);
        for (i, block) in self.blocks.iter().enumerate() {
            let pooled = pooled.filter(|_| i + 1 == self.blocks.len());
            block.norm1.apply(device, stream, normed)?;
            linear(device, normed, &block.key_value, Epilogue::Store, keys_values)?;
            let (stream, query_offsets) = if let Some(pooled) = pooled {
                gather(device, normed, pooled, attended)?;
                linear(device, attended, &block.query, Epilogue::Store, queries)?;
                gather(device, stream, pooled, pooled_stream)?;
                (&mut *pooled_stream, one_each.as_slice())
            } else {
                linear(device, normed, &block.query, Epilogue::Store, queries)?;
                (&mut *stream, offsets)
            };
            device.reshape(attended, queries.shape())?;
            let heads = self.config.heads;
            device.attention(AttentionArgs {
                queries,
                keys_values,
                query_offsets,
                key_offsets: offsets,
                heads,
                causal: self.causal,
                out: attended,
            })?;
            linear(device, attended, &block.output, Epilogue::Accumulate, stream)?;
            block.norm2.apply(device, stream, normed)?;
            linear(device, normed, &block.up, activate, hidden)?;
            linear(device, hidden, &block.down, Epilogue::Accumulate, stream)?;
        }
        Ok(())
    }
}

/// `linear` that first gives `out` the product's shape, unless it accumulates into what is there.
pub(crate) fn linear<B: Backend>(
    device: &B,
    input: &B::Tensor,
    layer: &B::Linear,
    epilogue: Epilogue,
    out: &mut B::Tensor,
) -> Result<()> {
    if epilogue != Epilogue::Accumulate {
        device.reshape(out, Shape::new(input.shape().rows, layer.shape().rows))?;
    }
    device.linear(LinearArgs { input, layer, epilogue, out })
}

/// `gather_rows` that first gives `out` the rows' shape.
pub(crate) fn gather<B: Backend>(device: &B, input: &B::Tensor, rows: &[u32], out: &mut B::Tensor) -> Result<()> {
    device.reshape(out, Shape::new(rows.len(), input.shape().cols))?;
    device.gather_rows(GatherRowsArgs { input, rows, first_row: 0, out })
}

/// Whether a batch is done. Where its `rows` do not fit the device's memory, its workspace is freed, and `limit`
/// becomes half of the rows for the next try; a batch of one item that does not fit is an error.
pub(crate) fn fits<B: Backend>(
    device: &B,
    space: &Mutex<Workspace<B>>,
    batch: Result<()>,
    (items, rows): (usize, usize),
    limit: &mut usize,
) -> Result<bool> {
    if let Err(Error::OutOfMemory { .. }) = batch {
        lock(space).release(device)?;
        if items > 1 {
            *limit = rows / 2;
            return Ok(false);
        }
    }
    batch.map(|()| true)
}

/// Copies a batch's rows into those of `all` from `first_row` on.
pub(crate) fn append<B: Backend>(device: &B, batch: &B::Tensor, first_row: usize, all: &mut B::Tensor) -> Result<()> {
    let rows: Vec<u32> = (0..batch.shape().rows as u32).collect();
    device.gather_rows(GatherRowsArgs { input: batch, rows: &rows, first_row, out: all })
}

/// Projects the pooled and normed rows in `space.normed` to embeddings in `space.pooled`, of unit length with
/// `normalize`.
pub(crate) fn project<B: Backend>(
    device: &B,
    space: &mut Workspace<B>,
    projection: &B::Linear,
    normalize: bool,
) -> Result<()> {
    linear(device, &space.normed, projection, Epilogue::Store, &mut space.pooled)?;
    if normalize {
        device.l2_normalize(L2NormalizeArgs { tensor: &mut space.pooled })?;
    }
    Ok(())
}
