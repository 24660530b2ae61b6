//! CLIP's forward pass in f64, straight from the papers' formulas: one token after the other, no packing, no batches.

use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// Tensors by name: shape and elements.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// A row a token.
type Rows = Vec<Vec<f64>>;

/// Reads a safetensors file of f32, f16 or bf16.
pub fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let halves = |bytes: &[u8], value: fn([u8; 2]) -> f64| bytes.as_chunks().0.iter().map(|&b| value(b)).collect();
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let values: Vec<f64> = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
                Dtype::F16 => halves(view.data(), |b| half::f16::from_le_bytes(b).to_f64()),
                Dtype::BF16 => halves(view.data(), |b| half::bf16::from_le_bytes(b).to_f64()),
                other => panic!("{name}: {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        })
        .collect()
}

/// A tower as a config describes it.
#[derive(Clone)]
pub struct Tower {
    pub heads: usize,
    pub activation: fn(f64) -> f64,
    pub eps: f64,
    pub layer_scale: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Pooling {
    Class,
    AverageThenNorm,
    NormThenAverage,
}

/// A model as its configs describe it.
#[derive(Clone)]
pub struct Clip {
    pub tensors: Tensors,
    pub vision: Tower,
    pub text: Tower,
    pub image_size: u32,
    /// On values of 0 ..= 255.
    pub mean: [f64; 3],
    pub std: [f64; 3],
    pub squash: bool,
    pub pre_norm: bool,
    pub pooling: Pooling,
    /// The length that texts are filled up to with token 0, where attention looks both ways.
    pub padded: Option<usize>,
}

pub fn quick_gelu(x: f64) -> f64 {
    x / (1.0 + (-1.702 * x).exp())
}

pub fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

pub fn gelu_tanh(x: f64) -> f64 {
    x * 0.5 * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

impl Clip {
    fn get(&self, name: &str) -> &[f64] {
        &self.tensors.get(name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn packed(&self) -> bool {
        self.tensors.contains_key("visual.class_embedding")
    }

    /// The unit embedding of a view `[S, S, 3]`.
    pub fn image(&self, view: &[u8]) -> Vec<f64> {
        let names = if self.packed() {
            ["visual.conv1", "visual.class_embedding", "visual.positional_embedding", "visual.ln_pre", "visual.ln_post"]
        } else {
            [
                "vision_model.embeddings.patch_embedding",
                "vision_model.embeddings.class_embedding",
                "vision_model.embeddings.position_embedding.weight",
                "vision_model.pre_layrnorm",
                "vision_model.post_layernorm",
            ]
        };
        let (shape, kernel) = &self.tensors[&format!("{}.weight", names[0])];
        let (width, patch, side) = (shape[0], shape[2], self.image_size as usize);
        let pixel =
            |x: usize, y: usize, c: usize| (f64::from(view[(y * side + x) * 3 + c]) - self.mean[c]) / self.std[c];
        let mut rows = vec![self.get(names[1]).to_vec()];
        for (top, left) in (0..side / patch).flat_map(|y| (0..side / patch).map(move |x| (y * patch, x * patch))) {
            let patch_row: Vec<f64> = (0..3)
                .flat_map(|c| (0..patch * patch).map(move |i| (c, i)))
                .map(|(c, i)| pixel(left + i % patch, top + i / patch, c))
                .collect();
            rows.push((0..width).map(|o| dot(&kernel[o * patch_row.len()..][..patch_row.len()], &patch_row)).collect());
        }
        for (row, position) in rows.iter_mut().zip(self.get(names[2]).chunks(width)) {
            add(row, position);
        }
        let eps = self.vision.eps;
        if self.pre_norm {
            rows = self.norm(&rows, names[3], eps);
        }
        let prefix = if self.packed() { "visual.transformer.resblocks." } else { "vision_model.encoder.layers." };
        self.blocks(&mut rows, prefix, &self.vision, false);
        let mean = |rows: &Rows| {
            let mut sum = vec![0.0; width];
            rows[1..].iter().for_each(|row| add(&mut sum, row));
            sum.into_iter().map(|x| x / (rows.len() - 1) as f64).collect()
        };
        let pooled: Vec<f64> = match self.pooling {
            Pooling::Class => self.norm(&rows[..1], names[4], eps).remove(0),
            Pooling::AverageThenNorm => self.norm(&[mean(&rows)], names[4], eps).remove(0),
            Pooling::NormThenAverage => mean(&self.norm(&rows, names[4], eps)),
        };
        let projection = if self.packed() { ["", "visual.proj"] } else { ["visual_projection", ""] };
        unit(self.project(&pooled, projection))
    }

    /// The unit embedding of a text that ends with its end token.
    pub fn text(&self, ids: &[u32]) -> Vec<f64> {
        let prefix = if self.tensors.contains_key("text.token_embedding.weight") { "text." } else { "" };
        let own = |name: &str| format!("{prefix}{name}");
        let names = if self.packed() {
            ["token_embedding.weight", "positional_embedding", "ln_final", "transformer.resblocks.", "text_projection"]
                .map(own)
        } else {
            [
                "text_model.embeddings.token_embedding.weight",
                "text_model.embeddings.position_embedding.weight",
                "text_model.final_layer_norm",
                "text_model.encoder.layers.",
                "text_projection",
            ]
            .map(String::from)
        };
        let width = self.tensors[&names[0]].0[1];
        let mut padded = ids.to_vec();
        padded.resize(self.padded.unwrap_or(ids.len()), 0);
        let mut rows: Rows =
            padded.iter().map(|&id| self.get(&names[0])[id as usize * width..][..width].to_vec()).collect();
        for (row, position) in rows.iter_mut().zip(self.get(&names[1]).chunks(width)) {
            add(row, position);
        }
        self.blocks(&mut rows, &names[3], &self.text, self.padded.is_none());
        let pooled = self.norm(&rows[ids.len() - 1..ids.len()], &names[2], self.text.eps).remove(0);
        unit(self.project(&pooled, [&names[4], &names[4]]))
    }

    fn norm(&self, rows: &[Vec<f64>], name: &str, eps: f64) -> Rows {
        let (gamma, beta) = (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        rows.iter()
            .map(|row| {
                let count = row.len() as f64;
                let mean = row.iter().sum::<f64>() / count;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
                let scaled = row.iter().map(|x| (x - mean) / (variance + eps).sqrt());
                scaled.zip(gamma).zip(beta).map(|((x, g), b)| x * g + b).collect()
            })
            .collect()
    }

    fn linear(&self, row: &[f64], weight: &str, bias: &str) -> Vec<f64> {
        let weight = self.get(weight).chunks(row.len()).map(|weights| dot(weights, row));
        match self.tensors.get(bias) {
            Some((_, bias)) => weight.zip(bias).map(|(x, b)| x + b).collect(),
            None => weight.collect(),
        }
    }

    /// By a linear layer where there is one of the first name, else by the matrix `[width, embed]` of the second.
    fn project(&self, row: &[f64], [layer, matrix]: [&str; 2]) -> Vec<f64> {
        if self.tensors.contains_key(&format!("{layer}.weight")) {
            return self.linear(row, &format!("{layer}.weight"), &format!("{layer}.bias"));
        }
        let (shape, weights) = &self.tensors[matrix];
        (0..shape[1]).map(|o| row.iter().enumerate().map(|(i, x)| x * weights[i * shape[1] + o]).sum()).collect()
    }

    fn blocks(&self, rows: &mut Rows, prefix: &str, tower: &Tower, causal: bool) {
        let packed = self.packed();
        let parts = if packed {
            ["ln_1", "attn.out_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
        } else {
            ["layer_norm1", "self_attn.out_proj", "layer_norm2", "mlp.fc1", "mlp.fc2"]
        };
        for block in 0.. {
            let name = |part: &str| format!("{prefix}{block}.{part}");
            let layer = |row: &[f64], part: &str| {
                self.linear(row, &name(&format!("{part}.weight")), &name(&format!("{part}.bias")))
            };
            if !self.tensors.contains_key(&name(&format!("{}.weight", parts[0]))) {
                return;
            }
            let scale = |added: Vec<f64>, i: usize| match tower.layer_scale {
                true => added.iter().zip(self.get(&name(&format!("ls_{i}.gamma")))).map(|(x, g)| x * g).collect(),
                false => added,
            };
            let normed = self.norm(rows, &name(parts[0]), tower.eps);
            let qkv: Rows = normed
                .iter()
                .map(|row| match packed {
                    true => self.linear(row, &name("attn.in_proj_weight"), &name("attn.in_proj_bias")),
                    false => ["q", "k", "v"].iter().flat_map(|p| layer(row, &format!("self_attn.{p}_proj"))).collect(),
                })
                .collect();
            for (i, row) in rows.iter_mut().enumerate() {
                let seen = if causal { &qkv[..=i] } else { &qkv[..] };
                add(row, &scale(layer(&attend(&qkv[i], seen, tower.heads), parts[1]), 1));
            }
            let normed = self.norm(rows, &name(parts[2]), tower.eps);
            for (row, normed) in rows.iter_mut().zip(&normed) {
                let hidden: Vec<f64> = layer(normed, parts[3]).into_iter().map(tower.activation).collect();
                add(row, &scale(layer(&hidden, parts[4]), 2));
            }
        }
    }
}

/// What one token's query gathers from the tokens it sees; rows are query, key and value.
fn attend(query: &[f64], seen: &[Vec<f64>], heads: usize) -> Vec<f64> {
    let width = query.len() / 3;
    let size = width / heads;
    (0..heads)
        .flat_map(|head| {
            let part = |row: &[f64], which: usize| row[which * width + head * size..][..size].to_vec();
            let q = part(query, 0);
            let scores: Vec<f64> = seen.iter().map(|row| dot(&q, &part(row, 1)) / (size as f64).sqrt()).collect();
            let top = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            let mut sum = vec![0.0; size];
            for (row, weight) in seen.iter().zip(&weights) {
                sum.iter_mut().zip(part(row, 2)).for_each(|(sum, v)| *sum += weight / total * v);
            }
            sum
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(row: &mut [f64], other: &[f64]) {
    row.iter_mut().zip(other).for_each(|(x, y)| *x += y);
}

fn unit(row: Vec<f64>) -> Vec<f64> {
    let length = dot(&row, &row).sqrt();
    row.into_iter().map(|x| x / length).collect()
}
