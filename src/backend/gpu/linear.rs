//! A layer of `linear` in its storage precision.

use crate::backend::args::check_layer;
use crate::backend::{Precision, Shape};
use crate::error::{Error, Result};
use half::{bf16, f16};

/// A layer's weights as bytes in their storage precision, each row padded with zeros to `stride` elements; and its bias.
pub(in crate::backend) fn layer_bytes(
    shape: Shape,
    weight: &[f32],
    bias: Option<&[f32]>,
    precision: Precision,
    stride: usize,
) -> Result<(Vec<u8>, Vec<f32>)> {
    check_layer(shape, weight, bias)?;
    let rows = weight.chunks_exact(shape.cols);
    let padding = || std::iter::repeat_n(0.0, stride - shape.cols);
    let padded = rows.flat_map(|row| row.iter().copied().chain(padding()));
    let bytes = match precision {
        Precision::F32 => padded.flat_map(f32::to_ne_bytes).collect(),
        Precision::F16 => padded.flat_map(|w| f16::from_f32(w).to_ne_bytes()).collect(),
        Precision::Bf16 => padded.flat_map(|w| bf16::from_f32(w).to_ne_bytes()).collect(),
        Precision::Int8 => return Err(Error::argument("precision", "int8", "f32, f16 or bf16 on a GPU")),
    };
    Ok((bytes, bias.map_or_else(|| vec![0.0; shape.rows], <[f32]>::to_vec)))
}
