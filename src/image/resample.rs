//! Pillow's bicubic resampling tables (`precompute_coeffs` and `normalize_coeffs_8bpc` in Resample.c).
//!
//! An output pixel is a weighted sum of consecutive input pixels, its taps. Their weights are the bicubic filter around
//! the pixel's centre in the input, stretched by the scale when shrinking.
//!
//! ```text
//! input   |0|1|2|3|4|5|6|7|8|9|    10 pixels to 4: scale 2.5, filter ± 2 · 2.5 pixels
//! output  | 0  | 1  | 2  | 3  |    output pixel 1 has its centre at (1 + ½) · 2.5 = 3.75 and reads inputs 0 .. 9
//! ```

use crate::backend::Taps;

/// How far the bicubic filter reaches from its centre at scale 1, in input pixels.
const SUPPORT: f64 = 2.0;
/// 1.0 in Pillow's fixed point.
const ONE: f64 = (1 << crate::backend::PRECISION_BITS) as f64;

/// The bicubic filter with a = −0.5.
fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// The taps of the output pixels `first .. first + count` when `input` pixels are resampled to `output`.
///
/// The same operations in the same order as Pillow, so that the integers are the same.
pub fn bicubic_taps(input: u32, output: u64, first: u64, count: u32) -> Taps {
    let scale = f64::from(input) / output as f64;
    let filter_scale = scale.max(1.0);
    let support = SUPPORT * filter_scale;
    let inverse = 1.0 / filter_scale;
    Taps::collect((first..first + u64::from(count)).map(|pixel| {
        let center = (pixel as f64 + 0.5) * scale;
        let start = ((center - support + 0.5) as i64).max(0);
        let end = ((center + support + 0.5) as i64).min(i64::from(input));
        let mut weights: Vec<f64> = (start..end).map(|x| bicubic((x as f64 - center + 0.5) * inverse)).collect();
        let sum: f64 = weights.iter().sum();
        if sum != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        (start as u32, weights.into_iter().map(to_fixed).collect())
    }))
}

/// Rounds half away from zero, by truncation, as Pillow's cast to int does.
fn to_fixed(weight: f64) -> i32 {
    (weight * ONE + if weight < 0.0 { -0.5 } else { 0.5 }) as i32
}
