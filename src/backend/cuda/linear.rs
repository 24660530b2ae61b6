//! `linear`: matrix product with an epilogue, on tensor cores in f16, else in f32.

use super::context::Context;
use super::handles::Memory;
use super::launch::Launch;
use super::tensor::Element;
use crate::backend::Cuda;
use crate::backend::args::{Checked, LinearArgs};
use crate::backend::gpu::linear::layer_bytes;
use crate::backend::{Activation, Epilogue, Precision, Shape, Shaped, TransformerRow, Work};
use crate::error::{Error, Result};

/// Weights `[outputs, stride]` in their storage precision, and a bias: the packed layer of the
/// [`Cuda`](super::Cuda) backend.
#[derive(Debug)]
pub struct CudaLinear {
    shape: Shape,
    pub(super) storage: Precision,
    pub(super) weight: Memory,
    bias: Memory,
}

/// Depth of a slab in inputs, as in kernels/cuda/linear.cu.
const DEPTH: usize = 64;

impl CudaLinear {
    pub(super) fn new(
        context: &Context,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        storage: Precision,
    ) -> Result<Self> {
        let (weight, mut bias) = layer_bytes(shape, weight, bias, storage, shape.cols.next_multiple_of(DEPTH))?;
        // The tensor-core kernel loads eight biases at once.
        bias.resize(shape.rows.next_multiple_of(8), 0.0);
        let (weight, bias) = (context.upload(&weight)?, context.upload(&bias)?);
        Ok(Self { shape, storage, weight, bias })
    }

    /// Leading dimension: elements from one row to the next; the padding behind the inputs is zero.
    pub(super) fn stride(&self) -> usize {
        self.shape.cols.next_multiple_of(DEPTH)
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> u64 {
        let element = if self.storage == Precision::F32 { 4 } else { 2 };
        (self.shape.len() * element) as u64
    }
}

impl Shaped for CudaLinear {
    fn shape(&self) -> Shape {
        self.shape
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::NoUninit)]
struct Params {
    rows: i32,
    outputs: i32,
    inputs: i32,
    input_stride: i32,
    weight_stride: i32,
    out_stride: i32,
    epilogue: u32,
}

pub(super) fn run(context: &Context, args: Checked<LinearArgs<'_, Cuda>>) -> Result<()> {
    let LinearArgs { input, layer, epilogue, out } = args.into_inner();
    let (rows, Shape { rows: outputs, cols: inputs }) = (input.shape().rows, layer.shape);
    let params = Params {
        rows: rows as i32,
        outputs: outputs as i32,
        inputs: inputs as i32,
        input_stride: input.stride() as i32,
        weight_stride: layer.stride() as i32,
        out_stride: out.stride() as i32,
        // As in kernels/cuda/epilogue.cuh.
        epilogue: match epilogue {
            Epilogue::Store => 0,
            Epilogue::Accumulate => 1,
            Epilogue::Activate(Activation::QuickGelu) => 2,
            Epilogue::Activate(Activation::Gelu) => 3,
            Epilogue::Activate(Activation::GeluTanh) => 4,
        },
    };
    let family: &[Tile] = match (input.element, layer.storage, out.element) {
        (Element::F32, Precision::F32, Element::F32) => &F32_BY_F32,
        (Element::F32, Precision::F16, Element::F32) => &F32_BY_F16,
        (Element::F32, Precision::Bf16, Element::F32) => &F32_BY_BF16,
        (Element::F16, Precision::F16, Element::F32) => &F16_TO_F32,
        (Element::F16, Precision::F16, Element::F16) => &F16_TO_F16,
        (input, weight, out) => {
            let found = format!("{input:?} by {weight} into {out:?}");
            return Err(Error::argument("linear storage", found, "F32 into F32, or F16 by f16"));
        }
    };
    let tile = Tile::choose(family, rows, outputs, inputs, context.multiprocessors);
    let launch = Launch {
        grid: [rows.div_ceil(tile.rows), outputs.div_ceil(tile.outputs), 1],
        block: [tile.threads, 1],
        shared: tile.shared(),
    };
    let passes = if epilogue == Epilogue::Accumulate { 2 } else { 1 };
    let bytes = input.bytes() + layer.bytes() + 4 * outputs as u64 + passes * out.bytes();
    let work = Work { bytes, flops: 2 * (rows * outputs * inputs) as u64 };
    context.launch(tile.kernel, &params, &[&input.memory, &layer.weight, &layer.bias, &out.memory], launch, work)
}

/// A block's tile of the product, and the kernel that computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tile {
    kernel: &'static str,
    rows: usize,
    outputs: usize,
    /// Of a block.
    threads: u32,
    /// Pipeline stages: slabs in dynamic shared memory, `STAGES` of the kernel.
    stages: usize,
    /// Share of the arithmetic units' rate that the tile reaches (benches/RESULTS-gpu.md; for 128×128 in f32 an estimate: no
    /// card has run it).
    efficiency: f64,
}

/// The tiles of kernels/cuda/linear.cu, by the output's elements.
const F16_TO_F32: [Tile; 3] = on_tensor_cores(["linear_128x128_f32", "linear_128x96_f32", "linear_64x64_f32"]);
const F16_TO_F16: [Tile; 3] = on_tensor_cores(["linear_128x128_f16", "linear_128x96_f16", "linear_64x64_f16"]);
/// The tiles of kernels/cuda/linear_f32.cu, by the weights' elements.
const F32_BY_F32: [Tile; 2] = in_f32(["linear_f32_f32_128x128", "linear_f32_f32_64x64"]);
const F32_BY_F16: [Tile; 2] = in_f32(["linear_f32_f16_128x128", "linear_f32_f16_64x64"]);
const F32_BY_BF16: [Tile; 2] = in_f32(["linear_f32_bf16_128x128", "linear_f32_bf16_64x64"]);

const fn on_tensor_cores([large, narrow, small]: [&'static str; 3]) -> [Tile; 3] {
    [
        Tile { kernel: large, rows: 128, outputs: 128, threads: 128, stages: 3, efficiency: 0.33 },
        Tile { kernel: narrow, rows: 128, outputs: 96, threads: 128, stages: 3, efficiency: 0.30 },
        Tile { kernel: small, rows: 64, outputs: 64, threads: 128, stages: 4, efficiency: 0.24 },
    ]
}

const fn in_f32([large, small]: [&'static str; 2]) -> [Tile; 2] {
    [
        Tile { kernel: large, rows: 128, outputs: 128, threads: 256, stages: 0, efficiency: 0.6 },
        Tile { kernel: small, rows: 64, outputs: 64, threads: 256, stages: 0, efficiency: 0.33 },
    ]
}

impl Tile {
    /// A family's tile with the least estimated time: the number of waves of blocks times the work of a block.
    fn choose(family: &[Self], rows: usize, outputs: usize, inputs: usize, multiprocessors: usize) -> Self {
        let time = |tile: &Self| {
            let blocks = rows.div_ceil(tile.rows) * outputs.div_ceil(tile.outputs);
            // Blocks on one multiprocessor share its arithmetic units, so occupancy does not count: a wave is one block per
            // multiprocessor.
            let waves = blocks.div_ceil(multiprocessors) as f64;
            waves * (tile.rows * tile.outputs * inputs.max(1)) as f64 / tile.efficiency
        };
        family.iter().copied().min_by(|a, b| time(a).total_cmp(&time(b))).unwrap_or(family[0])
    }

    /// Bytes of dynamic shared memory.
    fn shared(&self) -> u32 {
        (self.stages * (self.rows + self.outputs) * DEPTH * 2) as u32
    }
}

/// Waves of blocks that a batch gives the narrowest layer. Whole waves leave no multiprocessor idle; nine are about 506
/// views of ViT-B/32 on 132 multiprocessors: eight pictures of 61, with which an H100 was a fifth faster than with one.
const WAVES: usize = 9;

/// Rows of a transformer that fill whole waves of the largest tile, but at most what fits an eighth of the device's
/// memory.
pub(super) fn preferred_rows(row: TransformerRow, multiprocessors: usize, memory: usize) -> usize {
    let (tile, element) = match row.precision {
        Precision::F16 => (F16_TO_F16[0], Element::F16),
        _ => (F32_BY_F32[0], Element::F32),
    };
    let filled = WAVES * multiprocessors / row.width.div_ceil(tile.outputs).max(1) * tile.rows;
    filled.min(memory / 8 / row.bytes(element.bytes()).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fill_the_device() {
        let views = |width, patch: usize, tokens, precision, multiprocessors, gib: usize| {
            let row = TransformerRow { width, hidden: 4 * width, patch: 3 * patch * patch, streams: 2, precision };
            preferred_rows(row, multiprocessors, gib << 30) / tokens
        };
        // ViT-B/32 on an H100, an A100 and an RTX 4090, then with little memory: eight, six, eight and one picture of
        // 61 views.
        assert_eq!(views(768, 32, 50, Precision::F16, 132, 80), 506);
        assert_eq!(views(768, 32, 50, Precision::F16, 108, 40), 414);
        assert_eq!(views(768, 32, 50, Precision::F16, 128, 24), 491);
        assert_eq!(views(768, 32, 50, Precision::F16, 132, 1), 102);
        // In f32, by tiles as large.
        assert_eq!(views(768, 32, 50, Precision::F32, 132, 80), 506);
        // ViT-L/14 at 336 pixels.
        assert_eq!(views(1024, 14, 577, Precision::F16, 132, 80), 32);
        let row = TransformerRow { width: 1 << 40, hidden: 1, patch: 0, streams: 1, precision: Precision::F16 };
        assert_eq!(preferred_rows(row, 1, 1), 1);
    }

    /// Large products take the large tile, small ones the tile that keeps more multiprocessors busy.
    #[test]
    fn tiles() {
        let rows = |tile: Tile| tile.rows;
        for multiprocessors in [108, 132, 128] {
            for family in [&F16_TO_F32[..], &F16_TO_F16, &F32_BY_F32, &F32_BY_F16, &F32_BY_BF16] {
                assert_eq!(rows(Tile::choose(family, 61 * 50, 3072, 768, multiprocessors)), 128);
                assert_eq!(rows(Tile::choose(family, 61 * 257, 4096, 1024, multiprocessors)), 128);
                assert_eq!(rows(Tile::choose(family, 50, 768, 768, multiprocessors)), 64);
                assert_eq!(rows(Tile::choose(family, 61, 512, 768, multiprocessors)), 64);
                assert_eq!(Tile::choose(family, 0, 0, 0, 1), family[0]);
            }
        }
    }

    #[test]
    fn shared_memory_fits_every_target() {
        // 99 KiB of a block on sm_86, sm_89 and sm_120 (CUDA C++ Programming Guide, technical specifications).
        for tile in F16_TO_F32.iter().chain(&F16_TO_F16) {
            assert!(tile.shared() <= 99 << 10, "{tile:?}");
        }
    }
}
