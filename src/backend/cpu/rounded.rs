//! Operands of a product in bf16 and int8, in the groups that the instructions multiply.

use super::simd::{Bf16x2, I8x4, Simd};
use crate::backend::quantize::Scale;

/// The word of a [`Bf16x2`] or [`I8x4`] at column `n` of a panel. With one part it holds both halves of that column.
/// With two parts a vector of words holds the first halves of all columns before the second ones, so that each part is
/// loaded by itself.
pub(super) fn halves(n: usize, lanes: usize, parts: usize, half: impl Fn(usize, usize) -> [u8; 2]) -> u32 {
    let lane = n % lanes;
    let at = |i: usize| {
        if parts == 1 { half(n, i) } else { half(n - lane + (2 * lane + i) % lanes, (2 * lane + i) / lanes) }
    };
    bytemuck::cast([at(0), at(1)])
}

impl Bf16x2 {
    /// Rounds a left-hand row to words: pairs of bf16, or with two parts each bf16 widened to f32 again.
    #[inline(always)]
    pub(super) fn round_row<S: Simd>(row: &[f32], words: &mut [i32]) {
        if S::PAIR_PARTS == 1 {
            let halves: &mut [u16] = bytemuck::cast_slice_mut(words);
            halves.iter_mut().zip(row).for_each(|(half, &x)| *half = round(x));
            halves[row.len()..].fill(0);
        } else {
            words.iter_mut().zip(row).for_each(|(word, &x)| *word = i32::from(round(x)) << 16);
            words[row.len()..].fill(0);
        }
    }
}

/// `x` as bf16, rounded to nearest even: branch-free, so that the compiler vectorises loops over it.
#[inline(always)]
pub(super) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN stays a NaN.
    (if x.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

impl I8x4 {
    /// The offset that is added to left-hand integers, since `vpdpbusd` takes them unsigned.
    pub(super) fn offset(parts: usize) -> i32 {
        if parts == 1 { 128 } else { 0 }
    }

    /// Rounds a left-hand row to words: four integers each, with the offset, or with two parts two integers of 16 bits.
    /// Returns the value of the integer 1.
    #[inline(always)]
    pub(super) fn round_row<S: Simd>(row: &[f32], words: &mut [i32]) -> f32 {
        let scale = Scale::of(row);
        if S::QUAD_PARTS == 1 {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
            // Adding the offset of 128 flips the sign bit.
            bytes.iter_mut().zip(row).for_each(|(byte, &x)| *byte = scale.quantize(x) as u8 ^ 0x80);
            bytes[row.len()..].fill(0x80);
        } else {
            let halves: &mut [i16] = bytemuck::cast_slice_mut(words);
            halves.iter_mut().zip(row).for_each(|(half, &x)| *half = i16::from(scale.quantize(x)));
            halves[row.len()..].fill(0);
        }
        scale.unit
    }
}
