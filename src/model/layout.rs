//! Where the three published layouts keep CLIP's weights.

use super::foreign;
use super::weights::{WeightFiles, Weights};
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
    /// Recognises a file's layout by the tensors that both towers begin with.
    pub(crate) fn detect(weights: &WeightFiles) -> Result<Self> {
        const TRANSFORMERS: [&str; 2] =
            ["vision_model.embeddings.patch_embedding.weight", "text_model.embeddings.token_embedding.weight"];
        const PACKED: [&str; 2] = ["visual.class_embedding", "token_embedding.weight"];
        const CUSTOM: [&str; 2] = ["visual.class_embedding", "text.token_embedding.weight"];
        let has = |names: [&str; 2]| names.iter().all(|name| weights.has(name));
        match foreign::by_tensors(weights.names()) {
            Some(foreign) => Err(foreign::unsupported(weights.path(), foreign.into())),
            None if has(TRANSFORMERS) => Ok(Self::Transformers),
            None if has(PACKED) => Ok(Self::Packed { text: "" }),
            None if has(CUSTOM) => Ok(Self::Packed { text: "text." }),
            None => Err(foreign::unsupported(weights.path(), foreign::fragment(weights.names()).into())),
        }
    }

    /// Refuses unread tensors, unless they are known to be unused or belong to the tower that was left out.
    pub(crate) fn check_all_read(self, weights: &WeightFiles, left_out: Option<Tower>) -> Result<()> {
        let used = |name: &&str| !is_buffer(name) && (left_out.is_none() || self.tower_of(name) != left_out);
        match weights.unread().into_iter().find(used) {
            None => Ok(()),
            Some(name) => Err(Error::UnusedTensor {
                path: weights.path().to_owned(),
                tensor: name.to_string(),
                found: foreign::describe_tensor(name).into(),
            }),
        }
    }

    /// The tower that a tensor belongs to.
    fn tower_of(self, name: &str) -> Option<Tower> {
        #[rustfmt::skip]
        const TEXT: [&str; 6] = [
            "token_embedding.", "transformer.resblocks.", "ln_final.", "positional_embedding", "text_projection",
            "text_projection.",
        ];
        // A name that does not end with its dot is a tensor's whole name.
        let of = |parts: &[&str]| {
            parts.iter().any(|part| if part.ends_with('.') { name.starts_with(part) } else { name == *part })
        };
        let (vision, text) = match self {
            Self::Transformers => {
                (of(&["vision_model.", "visual_projection."]), of(&["text_model.", "text_projection."]))
            }
            Self::Packed { text: "" } => (of(&["visual."]), of(&TEXT)),
            Self::Packed { text } => (of(&["visual."]), of(&[text])),
        };
        if vision { Some(Tower::Vision) } else { text.then_some(Tower::Text) }
    }

    /// What the names of a tower's tensors begin with.
    fn prefix(self, tower: Tower) -> &'static str {
        match (self, tower) {
            (Self::Transformers, Tower::Vision) => "vision_model.",
            (Self::Transformers, Tower::Text) => "text_model.",
            (Self::Packed { .. }, Tower::Vision) => "visual.",
            (Self::Packed { text }, Tower::Text) => text,
        }
    }

    /// Chooses this layout's one of two names.
    fn own(self, transformers: &'static str, packed: &'static str) -> &'static str {
        if self == Self::Transformers { transformers } else { packed }
    }

    /// The name of a tensor outside the blocks, without `.weight`.
    pub(crate) fn part(self, part: Part) -> String {
        let (tower, transformers, packed) = match part {
            Part::ClassEmbedding => (Tower::Vision, "embeddings.class_embedding", "class_embedding"),
            Part::PatchEmbedding => (Tower::Vision, "embeddings.patch_embedding", "conv1"),
            Part::TokenEmbedding => (Tower::Text, "embeddings.token_embedding", "token_embedding"),
            Part::VisionPositions => (Tower::Vision, "embeddings.position_embedding.weight", "positional_embedding"),
            Part::TextPositions => (Tower::Text, "embeddings.position_embedding.weight", "positional_embedding"),
            Part::PreNorm => (Tower::Vision, "pre_layrnorm", "ln_pre"), // sic
            Part::VisionNorm => (Tower::Vision, "post_layernorm", "ln_post"),
            Part::TextNorm => (Tower::Text, "final_layer_norm", "ln_final"),
        };
        self.prefix(tower).to_owned() + self.own(transformers, packed)
    }

    /// The prefix of a block's tensors.
    fn block(self, tower: Tower, index: usize) -> String {
        format!("{}{}.{index}.", self.prefix(tower), self.own("encoder.layers", "transformer.resblocks"))
    }

    /// The name of a block's part, without `.weight`.
    pub(crate) fn block_part(self, tower: Tower, index: usize, part: BlockPart) -> String {
        let (transformers, packed) = match part {
            BlockPart::Norm1 => ("layer_norm1", "ln_1"),
            BlockPart::Output => ("self_attn.out_proj", "attn.out_proj"),
            BlockPart::Norm2 => ("layer_norm2", "ln_2"),
            BlockPart::Up => ("mlp.fc1", "mlp.c_fc"),
            BlockPart::Down => ("mlp.fc2", "mlp.c_proj"),
        };
        self.block(tower, index) + self.own(transformers, packed)
    }

    /// The names of a block's layer scales: of the attention's output, and of the MLP's.
    pub(crate) fn layer_scale(self, tower: Tower, index: usize) -> [String; 2] {
        [1, 2].map(|i| format!("{}ls_{i}.gamma", self.block(tower, index)))
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

/// Tensors that do not change an embedding: buffers that hold constants, the scale and bias of a training loss, and what
/// OpenAI's scripted archives keep beside the weights.
fn is_buffer(name: &str) -> bool {
    const NAMES: [&str; 7] =
        ["position_ids", "attn_mask", "logit_scale", "logit_bias", "input_resolution", "context_length", "vocab_size"];
    NAMES.contains(&name.rsplit('.').next().unwrap_or(name))
}

impl LinearWeights {
    /// Multiplies every output by its factor.
    pub(crate) fn scale_outputs(&mut self, factors: &[f32]) {
        let inputs = self.weight.len() / factors.len();
        let rows = self.weight.chunks_exact_mut(inputs).zip(factors);
        rows.for_each(|(row, factor)| row.iter_mut().for_each(|weight| *weight *= factor));
        self.bias.iter_mut().flatten().zip(factors).for_each(|(bias, factor)| *bias *= factor);
    }
}

/// `name.weight` `[outputs, inputs]` and, where there is one, `name.bias`.
pub(crate) fn read_linear(weights: &dyn Weights, name: &str, outputs: usize, inputs: usize) -> Result<LinearWeights> {
    let weight = weights.read(&format!("{name}.weight"), &[outputs, inputs])?;
    let bias = format!("{name}.bias");
    let bias = weights.has(&bias).then(|| weights.read(&bias, &[outputs])).transpose()?;
    Ok(LinearWeights { weight, bias })
}
