//! `linear`: matrix product with an epilogue.

use crate::backend::args::{Checked, LinearArgs};
use crate::backend::quantize::Scale;
use crate::backend::{Activation, Epilogue, Precision, Reference, Shape, Shaped};
use crate::error::Result;
use half::{bf16, f16};
use std::borrow::Cow;

/// Weights `[outputs, inputs]`, rounded to their storage precision, and a bias.
#[derive(Clone, Debug)]
pub struct ReferenceLinear {
    shape: Shape,
    precision: Precision,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl ReferenceLinear {
    pub(super) fn new(shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Self {
        let round = |row: &[f32]| -> Vec<f32> {
            match precision {
                Precision::F32 => row.to_vec(),
                Precision::F16 => row.iter().map(|&w| f16::from_f32(w).to_f32()).collect(),
                Precision::Bf16 => row.iter().map(|&w| bf16::from_f32(w).to_f32()).collect(),
                Precision::Int8 => through_int8(row),
            }
        };
        Self {
            shape,
            precision,
            weight: weight.chunks(shape.cols.max(1)).flat_map(round).collect(),
            bias: bias.map_or_else(|| vec![0.0; shape.rows], <[f32]>::to_vec),
        }
    }

    /// An input row as the layer multiplies it: for int8 quantized and back.
    pub(super) fn left<'a>(&self, row: &'a [f32]) -> Cow<'a, [f32]> {
        if self.precision == Precision::Int8 { through_int8(row).into() } else { row.into() }
    }

    /// The weights of one output.
    pub(super) fn row(&self, output: usize) -> &[f32] {
        &self.weight[output * self.shape.cols..][..self.shape.cols]
    }
}

impl Shaped for ReferenceLinear {
    fn shape(&self) -> Shape {
        self.shape
    }
}

/// A row quantized to int8 and back.
fn through_int8(row: &[f32]) -> Vec<f32> {
    let scale = Scale::of(row);
    row.iter().map(|&x| f32::from(scale.quantize(x)) * scale.unit).collect()
}

/// `Σ a·b` in f64, first to last.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn activate(activation: Activation, x: f64) -> f64 {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};
    match activation {
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x * FRAC_1_SQRT_2)),
        Activation::GeluTanh => 0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
    }
}

pub(super) fn run(_: &Reference, args: Checked<LinearArgs<'_, Reference>>) -> Result<()> {
    let LinearArgs { input, layer, epilogue, out } = args.into_inner();
    for row in 0..input.shape().rows {
        let left = layer.left(input.row(row));
        for (output, element) in out.row_mut(row).iter_mut().enumerate() {
            let product = dot(&left, layer.row(output)) + f64::from(layer.bias[output]);
            *element = match epilogue {
                Epilogue::Store => product,
                Epilogue::Activate(activation) => activate(activation, product),
                Epilogue::Accumulate => f64::from(*element) + product,
            } as f32;
        }
    }
    Ok(())
}
