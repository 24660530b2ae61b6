//! `linear`: matrix product with an epilogue.

use super::cooperative::Cooperative;
use super::pipeline::Kernel;
use super::pipeline::kernels::linear_64x64::{
    ACCUMULATE, BF16, DEPTH, F16, F32, GELU, GELU_TANH, Params, QUICK_GELU, STORE,
};
use super::pipeline::kernels::{linear_64x64, linear_128x128};
use super::queue::Queue;
use super::tensor::{Window, chunks, rows_at_once, window};
use crate::backend::args::{Checked, LinearArgs};
use crate::backend::gpu::linear::layer_bytes;
use crate::backend::{Activation, Epilogue, Precision, Shape, Shaped, Wgpu, Work};
use crate::error::Result;

/// Weights `[outputs, stride]` in their storage precision, and a bias: the packed layer of the
/// [`Wgpu`](super::Wgpu) backend.
#[derive(Debug)]
pub struct WgpuLinear {
    shape: Shape,
    /// Leading dimension: elements from one row to the next.
    pub(super) stride: usize,
    storage: Precision,
    weight: wgpu::Buffer,
    bias: wgpu::Buffer,
}

impl WgpuLinear {
    pub(super) fn new(
        queue: &Queue,
        shape: Shape,
        weight: &[f32],
        bias: Option<&[f32]>,
        storage: Precision,
    ) -> Result<Self> {
        let stride = shape.cols.next_multiple_of(DEPTH as usize);
        let (weight, bias) = layer_bytes(shape, weight, bias, storage, stride)?;
        Ok(Self { shape, stride, storage, weight: queue.upload(&weight)?, bias: queue.upload(&bias)? })
    }

    /// Words (32 bits) of a row of weights.
    pub(super) fn words(&self) -> usize {
        if self.storage == Precision::F32 { self.stride } else { self.stride / 2 }
    }

    /// The value of the kernels' constant STORAGE.
    pub(super) fn storage(&self) -> u32 {
        match self.storage {
            Precision::F32 => F32,
            Precision::F16 => F16,
            Precision::Bf16 | Precision::Int8 => BF16,
        }
    }

    /// A window of some rows, with `base` counted in elements.
    pub(super) fn window(&self, queue: &Queue, name: &str, rows: std::ops::Range<usize>) -> Result<Window<'_>> {
        let mut found = window(queue, name, &self.weight, self.words(), rows)?;
        if self.storage != Precision::F32 {
            found.base *= 2;
        }
        Ok(found)
    }
}

impl Shaped for WgpuLinear {
    fn shape(&self) -> Shape {
        self.shape
    }
}

pub(super) fn run(queue: &Queue, args: Checked<LinearArgs<'_, Wgpu>>) -> Result<()> {
    let LinearArgs { input, layer, epilogue, out } = args.into_inner();
    let (rows, Shape { rows: outputs, cols: inputs }) = (input.shape().rows, layer.shape);
    let (kernel, constants, tile) = choose(queue, rows, layer, epilogue);
    let whole_tiles = |n: usize| if n > tile { n / tile * tile } else { n };
    let most = rows_at_once(queue, &[layer.words()]).min(queue.max_groups as usize * tile);
    let output_step = most.min(whole_tiles(queue.at_once(2 * inputs * tile)));
    let at_once = queue.at_once(2 * inputs * outputs.min(output_step));
    let row_step = rows_at_once(queue, &[inputs, outputs]).min(whole_tiles(at_once));
    for row_range in chunks(rows, row_step) {
        let input = input.window(queue, "linear input", row_range.clone())?;
        let out = out.window(queue, "linear output", row_range.clone())?;
        for output_range in chunks(outputs, output_step) {
            let weight = layer.window(queue, "linear weight", output_range.clone())?;
            let params = Params {
                rows: row_range.len() as u32,
                outputs: output_range.len() as u32,
                first_output: output_range.start as u32,
                out_width: outputs as u32,
                inputs: inputs as u32,
                stride: layer.stride as u32,
                input_base: input.base,
                weight_base: weight.base,
                out_base: out.base,
            };
            // The kernel's row tiles are counted by y, then z.
            let tiles = |n: usize| n.div_ceil(tile) as u32;
            let down = tiles(row_range.len());
            let groups = [tiles(output_range.len()), down.min(queue.max_groups), down.div_ceil(queue.max_groups)];
            let bindings = [input.slice, weight.slice, layer.bias.slice(..), out.slice];
            let (m, n) = (row_range.len(), output_range.len());
            let passes = if epilogue == Epilogue::Accumulate { 2 } else { 1 };
            let work = Work::words(m * inputs + n * (layer.words() + 1) + passes * m * n, 2 * m * n * inputs);
            queue.record(kernel, &constants, &params, &bindings, groups, work)?;
        }
    }
    Ok(())
}

/// The kernel for a layer and `rows` rows, its constants in the (alphabetical) order of its overrides, and the side of
/// its tile.
fn choose(queue: &Queue, rows: usize, layer: &WgpuLinear, epilogue: Epilogue) -> (&'static Kernel, [u32; 2], usize) {
    let epilogue = match epilogue {
        Epilogue::Store => STORE,
        Epilogue::Accumulate => ACCUMULATE,
        Epilogue::Activate(Activation::QuickGelu) => QUICK_GELU,
        Epilogue::Activate(Activation::Gelu) => GELU,
        Epilogue::Activate(Activation::GeluTanh) => GELU_TANH,
    };
    if let (Precision::F16, Some(Cooperative { kernel, subgroup, tile })) = (layer.storage, queue.cooperative) {
        return (kernel, [epilogue, subgroup], tile as usize);
    }
    // The large tile if there is at least one for each multiprocessor. No result depends on it.
    let large_tiles = |n: usize| n.div_ceil(linear_128x128::TILE as usize);
    let (kernel, tile) = if large_tiles(rows) * large_tiles(layer.shape.rows) >= queue.multiprocessors {
        (&linear_128x128::KERNEL, linear_128x128::TILE)
    } else {
        (&linear_64x64::KERNEL, linear_64x64::TILE)
    };
    (kernel, [epilogue, layer.storage()], tile as usize)
}
