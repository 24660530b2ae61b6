//! Operands of a product in bf16 and int8, in the groups that the instructions multiply.

use crate::backend::quantize::Scale;

/// Two bf16 that are neighbours in depth, in this order in memory: what `vdpbf16ps` multiplies. One word, so that it is
/// broadcast as one.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(super) struct Pair(pub(super) u32);

impl Pair {
    pub(super) fn new(first: f32, second: f32) -> Self {
        Self(bytemuck::cast([round(first), round(second)]))
    }

    /// Both elements, widened.
    #[inline(always)]
    pub(super) fn widen(self) -> [f32; 2] {
        bytemuck::cast::<u32, [u16; 2]>(self.0).map(|half| f32::from_bits(u32::from(half) << 16))
    }

    /// Rounds a row to pairs; an odd last element is with a zero.
    #[inline(always)]
    pub(super) fn round_row(row: &[f32], pairs: &mut [Self]) {
        let halves: &mut [u16] = bytemuck::cast_slice_mut(pairs);
        halves.iter_mut().zip(row).for_each(|(half, &x)| *half = round(x));
        if row.len() % 2 == 1 {
            halves[row.len()] = 0;
        }
    }
}

/// The upper half of `x`, rounded to nearest even: without a branch, so that a loop over it becomes vectors.
#[inline(always)]
fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN stays one.
    (if x.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
}

/// Four 8-bit integers that are neighbours in depth, in this order in memory: what `vpdpbusd` multiplies. On the left
/// they are unsigned, with [`Quad::OFFSET`] added.
#[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub(super) struct Quad(pub(super) u32);

impl Quad {
    /// What is added to the left-hand integers.
    pub(super) const OFFSET: i32 = 128;

    pub(super) fn new(weights: [i8; 4]) -> Self {
        Self(bytemuck::cast(weights))
    }

    /// Rounds a row to quads; those that the last one lacks are zeros. Returns what 1 stands for.
    #[inline(always)]
    pub(super) fn round_row(row: &[f32], quads: &mut [Self]) -> f32 {
        let scale = Scale::of(row);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(quads);
        let (whole, rest) = bytes.split_at_mut(row.len());
        // An offset of 128 is the sign bit's opposite.
        whole.iter_mut().zip(row).for_each(|(byte, &x)| *byte = scale.quantize(x) as u8 ^ 0x80);
        rest.fill(Self::OFFSET as u8);
        scale.unit
    }
}
