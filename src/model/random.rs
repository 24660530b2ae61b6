//! A vision tower's tensors with random values, for benchmarks.

use super::config::Config;
use super::layout::{BlockPart, Layout, Part, Tower};
use super::weights::Weights;
use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;
use std::path::Path;

/// Names and shapes of a vision tower in transformers' layout. Matrices are uniform, with a variance that keeps the
/// scale of activations, norms are the identity, biases zero.
pub(crate) struct RandomWeights {
    shapes: HashMap<String, Vec<usize>>,
}

impl RandomWeights {
    pub(crate) fn new(config: &Config) -> Self {
        const LAYOUT: Layout = Layout::Transformers;
        let (width, mlp, patch) = (config.vision.width, config.vision.mlp, config.patch_size as usize);
        let mut shapes = HashMap::new();
        let mut add = |name: String, shape: &[usize]| drop(shapes.insert(name, shape.to_vec()));
        add(LAYOUT.part(Part::ClassEmbedding), &[width]);
        add(LAYOUT.part(Part::VisionPositions), &[config.patches() + 1, width]);
        add(LAYOUT.part(Part::PatchEmbedding) + ".weight", &[width, 3, patch, patch]);
        add("visual_projection.weight".into(), &[config.embed, width]);
        let mut linear = |name: String, outputs: usize, inputs: &[usize]| {
            add(format!("{name}.weight"), &[&[outputs], inputs].concat());
            add(format!("{name}.bias"), &[outputs]);
        };
        linear(LAYOUT.part(Part::PreNorm), width, &[]);
        linear(LAYOUT.part(Part::VisionNorm), width, &[]);
        for block in 0..config.vision.layers {
            let name = |part| LAYOUT.block_part(Tower::Vision, block, part);
            let output = name(BlockPart::Output);
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                linear(output.replace("out_proj", projection), width, &[width]);
            }
            linear(name(BlockPart::Norm1), width, &[]);
            linear(name(BlockPart::Norm2), width, &[]);
            linear(name(BlockPart::Up), mlp, &[width]);
            linear(name(BlockPart::Down), width, &[mlp]);
        }
        Self { shapes }
    }
}

impl Weights for RandomWeights {
    fn path(&self) -> &Path {
        Path::new("random weights")
    }

    fn find(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        if self.find(name) != Some(shape) {
            let found = format!("{:?}", self.find(name));
            return Err(Error::file(self.path(), format!("tensor {name}"), found, format!("{shape:?}")));
        }
        let count = shape.iter().product();
        if name.ends_with(".bias") {
            return Ok(vec![0.0; count]);
        }
        if shape.len() == 1 && name.ends_with(".weight") {
            return Ok(vec![1.0; count]);
        }
        let inputs: usize = shape[1..].iter().product();
        let amplitude = (3.0 / inputs as f32).sqrt(); // variance 1 / inputs
        let mut rng = ChaCha8Rng::seed_from_u64(xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
        let mut uniform = || rng.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0;
        Ok((0..count).map(|_| uniform() * amplitude).collect())
    }
}
