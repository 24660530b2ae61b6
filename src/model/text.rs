//! The text tower: from token ids to embeddings.

use super::config::Config;
use super::layout::{Part, Tower};
use super::transformer::{Loader, Norm, Transformer, Workspace, halved, project};
use crate::backend::{Backend, Shape};
use crate::error::Result;
use crate::lock::lock;
use std::sync::Mutex;

pub(crate) struct TextTower<B: Backend> {
    width: usize,
    embed: usize,
    table: B::Tensor,
    positions: B::Tensor,
    transformer: Transformer<B>,
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
            transformer: Transformer::load(loader, Tower::Text, &config.text)?,
            final_norm: loader.norm(&layout.part(Part::TextNorm), width, eps)?,
            projection: loader.pack(layout.projection(weights, Tower::Text, width, config.embed)?, width)?,
            space: Mutex::new(Workspace::new(loader.device, loader.precision)?),
        })
    }

    /// The embedding of each text, of unit length with `normalize`: rows of the model's embedding width.
    ///
    /// `texts` end with their end token, where the tower pools. They are packed one after the other without padding:
    /// attention is causal and within each text, so company changes nothing.
    pub(crate) fn encode(&self, device: &B, texts: &[&[u32]], normalize: bool) -> Result<Vec<f32>> {
        let mut limit = self.transformer.batch_rows(device);
        let mut embeddings = Vec::with_capacity(texts.len() * self.embed);
        let mut rest = texts;
        while !rest.is_empty() {
            let mut rows = 0;
            let fits = |text: &&&[u32]| {
                rows += text.len();
                rows <= limit
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (batch, after) = rest.split_at(count);
            let rows = batch.iter().map(|text| text.len()).sum();
            let encoded = halved(self.encode_batch(device, batch, normalize), count, rows, &mut limit)?;
            rest = if encoded.is_empty() { rest } else { after };
            embeddings.extend(encoded);
        }
        Ok(embeddings)
    }

    fn encode_batch(&self, device: &B, texts: &[&[u32]], normalize: bool) -> Result<Vec<f32>> {
        let mut space = lock(&self.space);
        let tokens = texts.concat();
        let mut offsets = vec![0];
        offsets.extend(texts.iter().scan(0, |end, text| {
            *end += text.len() as u32;
            Some(*end)
        }));
        let pooled: Vec<u32> = offsets[1..].iter().map(|end| end - 1).collect();
        device.reshape(&mut space.stream, Shape::new(tokens.len(), self.width))?;
        device.embed_tokens(&tokens, &offsets, &self.table, &self.positions, &mut space.stream)?;
        self.transformer.forward(device, &mut space, &offsets, &pooled)?;
        project(device, &mut space, &self.final_norm, &self.projection, normalize)?;
        device.download(&space.pooled)
    }
}
