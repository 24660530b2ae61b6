//! The text tower: from token ids to embeddings.

use super::config::Config;
use super::layout::{Part, Tower};
use super::transformer::{Loader, Norm, Transformer, Workspace, append, fits, project};
use crate::backend::args::EmbedTokensArgs;
use crate::backend::{Backend, Shape};
use crate::error::Result;
use crate::lock::lock;
use std::sync::Mutex;

/// The token that open_clip's tokenizers pad texts with.
const PADDING: u32 = 0;

pub(crate) struct TextTower<B: Backend> {
    width: usize,
    embed: usize,
    table: B::Tensor,
    positions: B::Tensor,
    transformer: Transformer<B>,
    /// The length that texts are padded to, where attention is not causal and tokens see the padding.
    padded: Option<usize>,
    final_norm: Norm<B>,
    projection: B::Linear,
    space: Mutex<Workspace<B>>,
}

impl<B: Backend> TextTower<B> {
    pub(crate) fn load(loader: &Loader<'_, B>, config: &Config) -> Result<Self> {
        let (layout, weights) = (loader.layout, loader.weights);
        let (width, eps) = (config.text.width, config.text.eps);
        let table = format!("{}.weight", layout.part(Part::TokenEmbedding));
        Ok(Self {
            width,
            embed: config.embed,
            table: loader.tensor(&table, &[config.vocabulary, width])?,
            positions: loader.tensor(&layout.part(Part::TextPositions), &[config.context, width])?,
            transformer: Transformer::load(loader, Tower::Text, &config.text, config.causal)?,
            padded: (!config.causal).then_some(config.context),
            final_norm: loader.norm(&layout.part(Part::TextNorm), width, eps)?,
            projection: loader.pack(layout.projection(weights, Tower::Text, width, config.embed)?, width)?,
            space: Mutex::new(Workspace::new(loader.device, loader.precision)?),
        })
    }

    /// The embedding of each text, of unit length with `normalize`: `[texts, embed]`, on the device.
    ///
    /// `texts` end with their end token, where the tower pools. They are packed one after the other, without padding where
    /// attention is causal. Attention is within each text, so that results are batch-invariant.
    pub(crate) fn encode(&self, device: &B, texts: &[&[u32]], normalize: bool) -> Result<B::Tensor> {
        let mut embeddings = device.allocate(Shape::new(texts.len(), self.embed))?;
        let (mut limit, mut first) = (self.transformer.batch_rows(device, 0), 0);
        while first < texts.len() {
            let mut rows = 0;
            let inside = |text: &&&[u32]| {
                rows += self.length(text);
                rows <= limit
            };
            let count = texts[first..].iter().take_while(inside).count().max(1);
            let batch = &texts[first..first + count];
            let rows = batch.iter().map(|text| self.length(text)).sum();
            let encoded = self.encode_batch(device, batch, normalize, first, &mut embeddings);
            if fits(device, &self.space, encoded, (count, rows), &mut limit)? {
                first += count;
            }
        }
        Ok(embeddings)
    }

    /// Gives the activations' memory back.
    pub(crate) fn release(&self, device: &B) -> Result<()> {
        lock(&self.space).release(device)
    }

    /// The number of rows that a text takes.
    fn length(&self, text: &[u32]) -> usize {
        self.padded.unwrap_or(text.len())
    }

    /// Encodes texts into the rows of `embeddings` from `first_row` on.
    fn encode_batch(
        &self,
        device: &B,
        texts: &[&[u32]],
        normalize: bool,
        first_row: usize,
        embeddings: &mut B::Tensor,
    ) -> Result<()> {
        let mut space = lock(&self.space);
        let (mut tokens, mut offsets, mut pooled) = (Vec::new(), vec![0], Vec::new());
        for text in texts {
            let start = tokens.len();
            tokens.extend_from_slice(text);
            pooled.push(tokens.len() as u32 - 1);
            tokens.resize(start + self.length(text), PADDING);
            offsets.push(tokens.len() as u32);
        }
        device.reshape(&mut space.stream, Shape::new(tokens.len(), self.width))?;
        device.embed_tokens(EmbedTokensArgs {
            tokens: &tokens,
            offsets: &offsets,
            table: &self.table,
            positions: &self.positions,
            out: &mut space.stream,
        })?;
        self.transformer.forward(device, &mut space, &offsets, Some(&pooled))?;
        let Workspace { pooled, normed, .. } = &mut *space;
        self.final_norm.apply(device, pooled, normed)?;
        project(device, &mut space, &self.projection, normalize)?;
        append(device, &space.pooled, first_row, embeddings)
    }
}
