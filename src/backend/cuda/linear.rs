//! `linear`: matrix product with an epilogue, on tensor cores in f16, else in f32.

use super::choose::{DEPTH, STAGED_ROWS, Staging, Tile, tiles};
use super::context::Context;
use super::element::Element;
use super::family::Family;
use super::handles::Memory;
use super::launch::Launch;
use super::tensor::CudaTensor;
use super::tensor_map::{Boxed, TensorMap};
use crate::backend::Cuda;
use crate::backend::args::{Checked, LinearArgs};
use crate::backend::gpu::linear::layer_bytes;
use crate::backend::{Activation, Epilogue, Precision, Shape, Shaped, Work};
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
    // TMA knows no empty matrix; a product without inputs is the bias in any family.
    let family = if rows * outputs * inputs == 0 { Family::Mma } else { context.family };
    let Some(tiles) = tiles(family, input.element, layer.storage, out.element) else {
        let found = format!("{:?} by {} into {:?}", input.element, layer.storage, out.element);
        return Err(Error::argument("linear storage", found, "F32 into F32, or F16 by f16"));
    };
    let tile = Tile::choose(tiles, [rows, outputs, inputs], context.multiprocessors);
    let passes = if epilogue == Epilogue::Accumulate { 2 } else { 1 };
    let bytes = input.bytes() + layer.bytes() + 4 * outputs as u64 + passes * out.bytes();
    let work = Work { bytes, flops: 2 * (rows * outputs * inputs) as u64 };
    let launch = |grid| Launch { grid, block: [tile.threads, 1], shared: tile.shared() };
    let Some(staging) = tile.staging else {
        let launch = launch([rows.div_ceil(tile.rows), outputs.div_ceil(tile.outputs), 1]);
        let memories = [&input.memory, &layer.weight, &layer.bias, &out.memory];
        return context.launch(tile.kernel, &params, &memories, launch, work);
    };
    // The blocks are persistent.
    let launch = launch([tile.blocks(rows, outputs).min(context.multiprocessors), 1, 1]);
    let maps = maps(context, input, layer, out, (tile, staging))?;
    context.launch_with_maps(tile.kernel, &params, &maps, &[&layer.bias, &out.memory], launch, work)
}

/// The tensor maps of the operands.
fn maps(
    context: &Context,
    input: &CudaTensor,
    layer: &CudaLinear,
    out: &CudaTensor,
    (tile, staging): (Tile, Staging),
) -> Result<[TensorMap; 3]> {
    let device = &context.device;
    let weight = Boxed {
        element: Element::F16,
        rows: layer.shape.rows,
        cols: layer.shape.cols,
        stride: layer.stride(),
        size: [tile.outputs, DEPTH],
    };
    // Rows of out that do not begin at multiples of 16 bytes are stored without TMA.
    let by_tma = (out.stride() * out.element.bytes()).is_multiple_of(16);
    Ok([
        input.map(device, [tile.rows, DEPTH])?,
        TensorMap::new(device, layer.weight.address, weight)?,
        if by_tma { out.map(device, [STAGED_ROWS, staging.columns])? } else { TensorMap::UNUSED },
    ])
}
