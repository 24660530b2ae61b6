//! Where the three published layouts keep CLIP's weights.

use super::weights::Weights;
use crate::error::{Error, Result};

/// One of CLIP's two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tower {
    Vision,
    Text,
}

/// How a file names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `vision_model.…` and `text_model.…`: separate query, key and value; projections `[embed, width]`.
    Transformers,
    /// OpenAI's and open_clip's: `visual.…`, packed `in_proj`; projections `[width, embed]`. The text tower has no
    /// prefix, or `text.` in open_clip's custom models.
    Packed {
        /// Prefix of the text tower.
        text: &'static str,
    },
}

/// A weight matrix with its bias, `[outputs, inputs]`.
pub(crate) struct LinearWeights {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Option<Vec<f32>>,
}

/// The tensors outside the blocks, by what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    ClassEmbedding,
    PatchEmbedding,
    TokenEmbedding,
    VisionPositions,
    TextPositions,
    PreNorm,
    VisionNorm,
    TextNorm,
}

/// The parts of a block, by what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BlockPart {
    Norm1,
    Output,
    Norm2,
    Up,
    Down,
}

impl Layout {
    /// Recognises a file's layout.
    pub(crate) fn detect(weights: &dyn Weights) -> Result<Self> {
        if weights.has("vision_model.embeddings.patch_embedding.weight") {
            Ok(Self::Transformers)
        } else if weights.has("visual.conv1.weight") {
            let custom = weights.has("text.token_embedding.weight");
            Ok(Self::Packed { text: if custom { "text." } else { "" } })
        } else {
            Err(Error::file(
                weights.path(),
                "tensors",
                "neither vision_model.embeddings.patch_embedding.weight nor visual.conv1.weight",
                "a CLIP ViT of transformers, OpenAI or open_clip",
            ))
        }
    }

    /// The name of a tensor outside the blocks, without `.weight`.
    pub(crate) fn part(self, part: Part) -> String {
        match self {
            Self::Transformers => match part {
                Part::ClassEmbedding => "vision_model.embeddings.class_embedding",
                Part::PatchEmbedding => "vision_model.embeddings.patch_embedding",
                Part::TokenEmbedding => "text_model.embeddings.token_embedding",
                Part::VisionPositions => "vision_model.embeddings.position_embedding.weight",
                Part::TextPositions => "text_model.embeddings.position_embedding.weight",
                Part::PreNorm => "vision_model.pre_layrnorm", // sic
                Part::VisionNorm => "vision_model.post_layernorm",
                Part::TextNorm => "text_model.final_layer_norm",
            }
            .into(),
            Self::Packed { text } => match part {
                Part::ClassEmbedding => "visual.class_embedding".into(),
                Part::PatchEmbedding => "visual.conv1".into(),
                Part::TokenEmbedding => format!("{text}token_embedding"),
                Part::VisionPositions => "visual.positional_embedding".into(),
                Part::TextPositions => format!("{text}positional_embedding"),
                Part::PreNorm => "visual.ln_pre".into(),
                Part::VisionNorm => "visual.ln_post".into(),
                Part::TextNorm => format!("{text}ln_final"),
            },
        }
    }

    /// The prefix of a block's tensors.
    fn block(self, tower: Tower, index: usize) -> String {
        match (self, tower) {
            (Self::Transformers, Tower::Vision) => format!("vision_model.encoder.layers.{index}."),
            (Self::Transformers, Tower::Text) => format!("text_model.encoder.layers.{index}."),
            (Self::Packed { .. }, Tower::Vision) => format!("visual.transformer.resblocks.{index}."),
            (Self::Packed { text }, Tower::Text) => format!("{text}transformer.resblocks.{index}."),
        }
    }

    /// The name of a block's part, without `.weight`.
    pub(crate) fn block_part(self, tower: Tower, index: usize, part: BlockPart) -> String {
        let name = match (self, part) {
            (Self::Transformers, BlockPart::Norm1) => "layer_norm1",
            (Self::Transformers, BlockPart::Output) => "self_attn.out_proj",
            (Self::Transformers, BlockPart::Norm2) => "layer_norm2",
            (Self::Transformers, BlockPart::Up) => "mlp.fc1",
            (Self::Transformers, BlockPart::Down) => "mlp.fc2",
            (Self::Packed { .. }, BlockPart::Norm1) => "ln_1",
            (Self::Packed { .. }, BlockPart::Output) => "attn.out_proj",
            (Self::Packed { .. }, BlockPart::Norm2) => "ln_2",
            (Self::Packed { .. }, BlockPart::Up) => "mlp.c_fc",
            (Self::Packed { .. }, BlockPart::Down) => "mlp.c_proj",
        };
        self.block(tower, index) + name
    }

    /// The number of blocks that a tower has tensors for.
    pub(crate) fn count_blocks(self, weights: &dyn Weights, tower: Tower) -> usize {
        let there = |index: &usize| weights.has(&(self.block_part(tower, *index, BlockPart::Norm1) + ".weight"));
        (0..).take_while(there).count()
    }

    /// A block's query weights, `[width, width]`, and its key and value weights, `[2 width, width]`.
    pub(crate) fn query_key_value(
        self,
        weights: &dyn Weights,
        tower: Tower,
        index: usize,
        width: usize,
    ) -> Result<(LinearWeights, LinearWeights)> {
        let block = self.block(tower, index);
        if self != Self::Transformers {
            let mut query = weights.read(&format!("{block}attn.in_proj_weight"), &[3 * width, width])?;
            let mut query_bias = weights.read(&format!("{block}attn.in_proj_bias"), &[3 * width])?;
            let rest =
                LinearWeights { weight: query.split_off(width * width), bias: Some(query_bias.split_off(width)) };
            return Ok((LinearWeights { weight: query, bias: Some(query_bias) }, rest));
        }
        let read = |name: &str| read_linear(weights, &format!("{block}self_attn.{name}_proj"), width, width);
        let (query, mut keys, values) = (read("q")?, read("k")?, read("v")?);
        keys.weight.extend(values.weight);
        keys.bias = match (keys.bias, values.bias) {
            (None, None) => None,
            (keys, values) => {
                let zeros = || vec![0.0; width];
                Some([keys.unwrap_or_else(zeros), values.unwrap_or_else(zeros)].concat())
            }
        };
        Ok((query, keys))
    }

    /// A tower's projection, `[embed, width]`.
    pub(crate) fn projection(
        self,
        weights: &dyn Weights,
        tower: Tower,
        width: usize,
        embed: usize,
    ) -> Result<LinearWeights> {
        let (as_linear, as_matrix) = self.projection_names(tower);
        if weights.has(&format!("{as_linear}.weight")) {
            return read_linear(weights, &as_linear, embed, width);
        }
        let transposed = weights.read(&as_matrix, &[width, embed])?;
        let weight = (0..embed * width).map(|i| transposed[(i % width) * embed + i / width]).collect();
        Ok(LinearWeights { weight, bias: None })
    }

    /// The number of outputs of the vision tower's projection.
    pub(crate) fn embed_width(self, weights: &dyn Weights) -> Result<usize> {
        let (as_linear, as_matrix) = self.projection_names(Tower::Vision);
        match weights.shape(&format!("{as_linear}.weight")).or_else(|_| weights.shape(&as_matrix))? {
            &[first, second] => Ok(if weights.has(&as_matrix) { second } else { first }),
            other => Err(Error::file(weights.path(), as_matrix, format!("shape {other:?}"), "two dimensions")),
        }
    }

    /// The projection's name as a linear layer (without `.weight`), and as a bare transposed matrix.
    fn projection_names(self, tower: Tower) -> (String, String) {
        match (self, tower) {
            (Self::Transformers, Tower::Vision) => ("visual_projection".into(), "visual_projection.weight".into()),
            (Self::Transformers, Tower::Text) => ("text_projection".into(), "text_projection.weight".into()),
            (Self::Packed { .. }, Tower::Vision) => ("visual.head.proj".into(), "visual.proj".into()),
            (Self::Packed { text }, Tower::Text) => {
                (format!("{text}text_projection"), format!("{text}text_projection"))
            }
        }
    }
}

/// `name.weight` `[outputs, inputs]` and, where there is one, `name.bias`.
pub(crate) fn read_linear(weights: &dyn Weights, name: &str, outputs: usize, inputs: usize) -> Result<LinearWeights> {
    let weight = weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = format!("{name}.bias");
    let bias = weights.has(&bias).then(|| weights.read(&bias, &[outputs])).transpose()?;
    Ok(LinearWeights { weight, bias })
}
