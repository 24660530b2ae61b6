//! `attention`: softmax(q kᵀ / √d) v, one block for some queries of a sequence and one head.

use super::context::Context;
use super::launch::Launch;
use super::tensor::Element;
use crate::backend::Cuda;
use crate::backend::args::{AttentionArgs, Checked};
use crate::backend::gpu::attention::{attention_items, attention_pairs};
use crate::backend::{Shaped, Work};
use crate::error::{Error, Result};

/// The parameters of attention.cu and attention_f32.cu.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    items: i32,
    heads: i32,
    queries_stride: i32,
    keys_values_stride: i32,
    out_stride: i32,
    causal: i32,
    scale: f32,
    head_dim: i32,
}

/// A kernel, the queries of each block, and the columns of a head that a block computes.
struct Version {
    kernel: &'static str,
    queries: u32,
    columns: usize,
}

impl Version {
    fn choose(element: Element, head_dim: usize) -> Self {
        let tensor_cores = |kernel| Self { kernel, queries: 64, columns: head_dim };
        match (element, head_dim) {
            (Element::F16, 32) => tensor_cores("attention_32"),
            (Element::F16, 64) => tensor_cores("attention_64"),
            (Element::F16, 80) => tensor_cores("attention_80"),
            (Element::F16, 128) => tensor_cores("attention_128"),
            (Element::F16, _) => Self { kernel: "attention_f16", queries: 8, columns: 128 },
            (Element::F32, _) => Self { kernel: "attention_f32", queries: 8, columns: 128 },
        }
    }
}

pub(super) fn run(context: &Context, args: Checked<AttentionArgs<'_, Cuda>>) -> Result<()> {
    let AttentionArgs { queries, keys_values, query_offsets, key_offsets, heads, causal, out } = args.into_inner();
    if [keys_values.element, out.element] != [queries.element; 2] {
        let found = format!("{:?}, {:?} and {:?}", queries.element, keys_values.element, out.element);
        return Err(Error::argument("attention storage", found, "one of all three"));
    }
    let width = queries.shape().cols;
    let head_dim = width / heads;
    let version = Version::choose(queries.element, head_dim);
    let items = attention_items(query_offsets, key_offsets, version.queries, causal);
    let params = Params {
        items: items.len() as i32,
        heads: heads as i32,
        queries_stride: queries.stride() as i32,
        keys_values_stride: keys_values.stride() as i32,
        out_stride: out.stride() as i32,
        causal: i32::from(causal),
        scale: 1.0 / (head_dim as f32).sqrt(),
        head_dim: head_dim as i32,
    };
    let grid = [items.len(), heads * head_dim.div_ceil(version.columns), 1];
    let launch = Launch { grid, block: [128, 1], shared: 0 };
    let work = Work {
        bytes: queries.bytes() + keys_values.bytes() + out.bytes(),
        flops: 4 * (width * attention_pairs(&items, causal)) as u64,
    };
    let table = context.table(&items)?;
    context.launch(version.kernel, &params, &[&queries.memory, &keys_values.memory, &table, &out.memory], launch, work)
}
