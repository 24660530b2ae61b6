//! `layer_norm`: each row to mean 0 and variance 1, then scale and shift.

use crate::backend::args::{Checked, LayerNormArgs};
use crate::backend::{Reference, Shaped};
use crate::error::Result;

pub(super) fn run(_: &Reference, args: Checked<LayerNormArgs<'_, Reference>>) -> Result<()> {
    let LayerNormArgs { input, gamma, beta, eps, out } = args.into_inner();
    let width = input.shape().cols as f64;
    for row in 0..input.shape().rows {
        let x = input.row(row);
        let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / width;
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width;
        let scale = 1.0 / (variance + f64::from(eps)).sqrt();
        for (col, element) in out.row_mut(row).iter_mut().enumerate() {
            let (gamma, beta) = (f64::from(gamma.row(0)[col]), f64::from(beta.row(0)[col]));
            *element = ((f64::from(x[col]) - mean) * scale * gamma + beta) as f32;
        }
    }
    Ok(())
}
