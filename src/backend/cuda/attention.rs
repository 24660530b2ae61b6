//! `attention`: softmax(q kᵀ / √d) v, one block for some queries of a sequence and one head.

use super::context::Context;
use super::element::Element;
use super::family::Family;
use super::launch::Launch;
use super::tensor::CudaTensor;
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

/// A kernel, the queries of each block, and the columns that a block computes: of one head, or several heads.
struct Version {
    family: Family,
    kernel: &'static str,
    queries: u32,
    columns: usize,
}

/// Rows and columns of a slab of kernels/cuda/sm90/attention.cu: its `KEYS` and `DIM`.
const SLAB: usize = 64;

/// The version of kernels/cuda/sm90/attention.cu: two heads a block.
const WGMMA: Version =
    Version { family: Family::Wgmma, kernel: "attention_sm90_64", queries: SLAB as u32, columns: 2 * SLAB };

impl Version {
    fn choose(family: Family, element: Element, head_dim: usize) -> Self {
        let mma = |kernel, queries, columns| Self { family: Family::Mma, kernel, queries, columns };
        let tensor_cores = |kernel| mma(kernel, 64, head_dim);
        match (element, head_dim) {
            (Element::F16, SLAB) if family == Family::Wgmma => WGMMA,
            (Element::F16, 32) => tensor_cores("attention_32"),
            (Element::F16, 64) => tensor_cores("attention_64"),
            (Element::F16, 80) => tensor_cores("attention_80"),
            (Element::F16, 128) => tensor_cores("attention_128"),
            (Element::F16, _) => mma("attention_f16", 8, 128),
            (Element::F32, _) => mma("attention_f32", 8, 128),
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
    // TMA knows no empty matrix.
    let empty = queries.shape().is_empty() || keys_values.shape().is_empty();
    let family = if empty { Family::Mma } else { context.family };
    let version = Version::choose(family, queries.element, head_dim);
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
    let work = Work {
        bytes: queries.bytes() + keys_values.bytes() + out.bytes(),
        flops: 4 * (width * attention_pairs(&items, causal)) as u64,
    };
    let table = context.table(&items)?;
    if version.family == Family::Mma {
        let grid = [items.len(), heads * head_dim.div_ceil(version.columns), 1];
        let launch = Launch { grid, block: [128, 1], shared: 0 };
        let memories = [&queries.memory, &keys_values.memory, &table, &out.memory];
        return context.launch(version.kernel, &params, &memories, launch, work);
    }
    let longest = key_offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let grid = [items.len(), width.div_ceil(version.columns), 1];
    let launch = Launch { grid, block: [256, 1], shared: wgmma_shared(longest as usize) };
    let slabs = |tensor: &CudaTensor| tensor.map(&context.device, [SLAB, SLAB]);
    let maps = [slabs(queries)?, slabs(keys_values)?];
    context.launch_with_maps(version.kernel, &params, &maps, &[&table, &out.memory], launch, work)
}

/// Bytes of dynamic shared memory of kernels/cuda/sm90/attention.cu: each of two warpgroups has a slab of queries, and keys
/// and values of one block or, where a sequence is longer, of two. They begin at a multiple of 1,024, the swizzle.
const fn wgmma_shared(keys: usize) -> u32 {
    let slabs = if keys > SLAB { 5 } else { 3 };
    (1024 + 2 * slabs * SLAB * SLAB * 2) as u32
}
