//! Eight lanes without intrinsics, which the compiler maps to what the target has.

use super::{Routine, Simd};
use crate::backend::PRECISION_BITS;
use crate::backend::cpu::crop_resize::DIGIT_BITS;
use crate::backend::cpu::rounded::{Pair, Quad};
use half::f16;

/// The level without intrinsics: 8 lanes that the compiler maps to what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Portable {
    #[inline(always)]
    fn map2(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl Simd for Portable {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    const TILE_VECTORS: usize = 2;
    const ROW_BLOCK: usize = 48;
    type F = [f32; 8];
    type Pairs = [f32; 8];
    const PAIR_PARTS: usize = 2;
    type I = [i32; 8];
    const QUAD_PARTS: usize = 2;

    #[inline(never)]
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run_at(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, from: &[f32]) -> [f32; 8] {
        *from.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn load_f16(self, from: &[f16]) -> [f32; 8] {
        from.first_chunk::<8>().expect("8 elements").map(f16::to_f32)
    }
    #[inline(always)]
    fn load_pairs(self, from: &[Pair], part: usize) -> [f32; 8] {
        let halves: &[u16] = bytemuck::cast_slice(&from[..8]);
        std::array::from_fn(|i| f32::from_bits(u32::from(halves[8 * part + i]) << 16))
    }
    #[inline(always)]
    fn splat_pair(self, word: i32) -> [f32; 8] {
        [f32::from_bits(word as u32); 8]
    }
    #[inline(always)]
    fn dot_pairs(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        self.mul_add(a, b, c)
    }
    #[inline(always)]
    fn load_i32(self, from: &[i32]) -> [i32; 8] {
        *from.first_chunk().expect("8 elements")
    }
    #[inline(always)]
    fn to_float(self, x: [i32; 8]) -> [f32; 8] {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn load_quads(self, from: &[Quad], part: usize) -> [i32; 8] {
        let halves: &[[i8; 2]] = bytemuck::cast_slice(&from[..8]);
        std::array::from_fn(|i| bytemuck::cast(halves[8 * part + i].map(i16::from)))
    }
    #[inline(always)]
    fn splat_i32(self, x: i32) -> [i32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load_bytes(self, from: &[u8]) -> [i32; 8] {
        let bytes: &[u8; 16] = from.first_chunk().expect("16 bytes");
        std::array::from_fn(|i| bytemuck::cast([u16::from(bytes[2 * i]), u16::from(bytes[2 * i + 1])]))
    }
    #[inline(always)]
    fn dot_words(self, a: [i32; 8], b: [i32; 8], c: [i32; 8]) -> [i32; 8] {
        std::array::from_fn(|i| {
            let (a, b): ([i16; 2], [i16; 2]) = (bytemuck::cast(a[i]), bytemuck::cast(b[i]));
            c[i] + i32::from(a[0]) * i32::from(b[0]) + i32::from(a[1]) * i32::from(b[1])
        })
    }
    #[inline(always)]
    fn store_clipped(self, high: [[i32; 8]; 2], low: [[i32; 8]; 2], to: &mut [u8; 16]) {
        for (i, byte) in to.iter_mut().enumerate() {
            let sum = (high[i / 8][i % 8] << DIGIT_BITS) + low[i / 8][i % 8];
            *byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
        }
    }
    #[inline(always)]
    fn store(self, x: [f32; 8], to: &mut [f32]) {
        *to.first_chunk_mut().expect("8 elements") = x;
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn recip(self, x: [f32; 8]) -> [f32; 8] {
        x.map(|x| 1.0 / x)
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        Self::map2(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn round(self, x: [f32; 8]) -> [f32; 8] {
        // Adding 1.5 · 2²³ leaves no fraction bits; exact for |x| < 2²², rounded to even by the addition itself.
        const SHIFT: f32 = 12_582_912.0;
        x.map(|x| (x + SHIFT) - SHIFT)
    }
    #[inline(always)]
    fn scale(self, x: [f32; 8], n: [f32; 8]) -> [f32; 8] {
        Self::map2(x, n, |x, n| x * f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
}
