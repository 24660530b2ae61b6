//! `linear`: matrix product with an epilogue.

use super::pipeline::Kernel;
use super::pipeline::kernels::linear_64x64::{
    ACCUMULATE, BF16, DEPTH, F16, F32, GELU, GELU_TANH, Params, QUICK_GELU, STORE,
};
use super::pipeline::kernels::{linear_64x64, linear_128x128, linear_cooperative_8, linear_cooperative_16};
use super::queue::{Queue, Slice};
use super::tensor::{Window, chunks, rows_at_once, window};
use crate::backend::Wgpu;
use crate::backend::args::{Checked, LinearArgs};
use crate::backend::{Activation, Epilogue, Precision, Shape, Shaped, Work, tables};
use crate::error::Result;

/// Weights `[outputs, stride]` in their storage precision, and a bias: the packed layer of the
/// [`Wgpu`](super::Wgpu) backend.
#[derive(Debug)]
pub struct WgpuLinear {
    shape: Shape,
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
        let (weight, bias) = tables::layer(shape, weight, bias, storage, shape.cols.next_multiple_of(DEPTH as usize))?;
        let (weight, bias) = (queue.upload(&weight)?, queue.upload(&bias)?);
        Ok(Self { shape, storage, weight, bias })
    }

    /// Elements from one row to the next.
    pub(super) fn stride(&self) -> usize {
        self.shape.cols.next_multiple_of(DEPTH as usize)
    }

    /// Words of a row.
    pub(super) fn words(&self) -> usize {
        if self.storage == Precision::F32 { self.stride() } else { self.stride() / 2 }
    }

    /// The kernels' constant STORAGE.
    pub(super) fn storage(&self) -> u32 {
        of_storage(self.storage)
    }

    /// Some rows, with their start counted in elements.
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
    let Version { kernel, constants, tile } =
        Version::choose(queue, Shape::new(rows, outputs), layer.storage, epilogue);
    let bias = Slice::all(&layer.bias);
    let tile_side = tile as usize;
    let whole_tiles = |n: usize| if n > tile_side { n / tile_side * tile_side } else { n };
    let most = rows_at_once(queue, &[layer.words()]).min(queue.max_groups as usize * tile_side);
    let output_step = most.min(whole_tiles(queue.at_once(2 * inputs * tile_side)));
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
                stride: layer.stride() as u32,
                input_base: input.base,
                weight_base: weight.base,
                out_base: out.base,
            };
            // The kernel counts its rows through y, then z.
            let tiles = |n: usize| n.div_ceil(tile as usize) as u32;
            let down = tiles(row_range.len());
            let groups = [tiles(output_range.len()), down.min(queue.max_groups), down.div_ceil(queue.max_groups)];
            let bindings = [input.slice, weight.slice, bias, out.slice];
            let (m, n) = (row_range.len(), output_range.len());
            let passes = if epilogue == Epilogue::Accumulate { 2 } else { 1 };
            let work = Work::words(m * inputs + n * (layer.words() + 1) + passes * m * n, 2 * m * n * inputs);
            queue.record(kernel, &constants, &params, &bindings, groups, work)?;
        }
    }
    Ok(())
}

/// The kernel for a layer, with its constants in the order of its overrides, which is the alphabet's.
struct Version {
    kernel: &'static Kernel,
    constants: [u32; 2],
    /// Side of a workgroup's part of the product.
    tile: u32,
}

impl Version {
    fn choose(queue: &Queue, product: Shape, storage: Precision, epilogue: Epilogue) -> Self {
        let epilogue = match epilogue {
            Epilogue::Store => STORE,
            Epilogue::Accumulate => ACCUMULATE,
            Epilogue::Activate(Activation::QuickGelu) => QUICK_GELU,
            Epilogue::Activate(Activation::Gelu) => GELU,
            Epilogue::Activate(Activation::GeluTanh) => GELU_TANH,
        };
        match (storage, queue.cooperative) {
            (Precision::F16, Some(Cooperative { kernel, subgroup, tile })) => {
                Self { kernel, constants: [epilogue, subgroup], tile }
            }
            _ => {
                let (kernel, tile) = tile(product, queue.multiprocessors);
                Self { kernel, constants: [epilogue, of_storage(storage)], tile }
            }
        }
    }
}

/// The kernel in f32 for a product, and the side of its tile: the large one where there is one for each multiprocessor.
/// No result depends on it.
fn tile(product: Shape, multiprocessors: usize) -> (&'static Kernel, u32) {
    let large = linear_128x128::TILE;
    let tiles = |n: usize| n.div_ceil(large as usize);
    if tiles(product.rows) * tiles(product.cols) >= multiprocessors {
        (&linear_128x128::KERNEL, large)
    } else {
        (&linear_64x64::KERNEL, linear_64x64::TILE)
    }
}

/// The kernel on cooperative matrices of a side.
#[derive(Clone, Copy)]
pub(super) struct Cooperative {
    kernel: &'static Kernel,
    /// Invocations of a subgroup.
    subgroup: u32,
    tile: u32,
}

impl Cooperative {
    /// `None` for a side that no kernel is written for.
    pub(super) fn of(side: u32, subgroup: u32) -> Option<Self> {
        let (kernel, tile) = match side {
            8 => (&linear_cooperative_8::KERNEL, linear_cooperative_8::TILE),
            16 => (&linear_cooperative_16::KERNEL, linear_cooperative_16::TILE),
            _ => return None,
        };
        Some(Self { kernel, subgroup, tile })
    }

    /// The same kernel from another source, which stays in memory.
    pub(super) fn with_source(self, source: String) -> Self {
        let kernel = Kernel { source: source.leak(), ..*self.kernel };
        Self { kernel: Box::leak(Box::new(kernel)), ..self }
    }
}

/// The kernels' constant STORAGE.
fn of_storage(storage: Precision) -> u32 {
    match storage {
        Precision::F32 => F32,
        Precision::F16 => F16,
        Precision::Bf16 | Precision::Int8 => BF16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tiles_are_for_products_that_fill_the_gpu() {
        // Of ViT-B/32: 61 views through the MLP and the projection, one view, and the smallest products.
        for ([rows, cols], side) in
            [([3050, 3072], 128), ([3050, 768], 128), ([50, 3072], 64), ([61, 512], 64), ([1, 1], 64)]
        {
            assert_eq!(tile(Shape::new(rows, cols), 128).1, side, "{rows}×{cols}");
        }
        assert_eq!(tile(Shape::new(1, 1), 1).1, 128);
    }
}
