//! Eight lanes without intrinsics, which the compiler maps to what the target has.

use super::vector::{Bf16x2, DIGIT_BITS, I8x4, Routine, Simd};
use crate::backend::PRECISION_BITS;
use half::f16;

/// The level without intrinsics: 8 lanes that the compiler maps to what the target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

type F = [f32; 8];
type I = [i32; 8];

#[inline(always)]
fn map2(a: F, b: F, f: impl Fn(f32, f32) -> f32) -> F {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Methods: `name(arguments) = expression;`.
macro_rules! operations {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)+) => {$(
        #[inline(always)]
        fn $name(self, $($argument: $type),*) $(-> $result)? {
            $body
        }
    )+};
}

impl Simd for Portable {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;
    const TILE_VECTORS: usize = 2;
    const ROW_BLOCK: usize = 48;
    type F = F;
    type Pairs = F;
    const PAIR_PARTS: usize = 2;
    type I = I;
    const QUAD_PARTS: usize = 2;

    #[inline(never)]
    fn call<R: Routine<Self>>(self, routine: R) -> R::Output {
        routine.run_at(self)
    }

    operations! {
        splat(x: f32) -> F = [x; 8];
        load(from: &[f32]) -> F = *from.first_chunk().expect("8 elements");
        load_f16(from: &[f16], _part: usize) -> F = from.first_chunk::<8>().expect("8 elements").map(f16::to_f32);
        load_pairs(from: &[Bf16x2], part: usize) -> F = {
            let halves: &[u16] = bytemuck::cast_slice(&from[..8]);
            std::array::from_fn(|i| f32::from_bits(u32::from(halves[8 * part + i]) << 16))
        };
        splat_pair(word: i32) -> F = [f32::from_bits(word as u32); 8];
        dot_pairs(a: F, b: F, c: F) -> F = std::array::from_fn(|i| a[i] * b[i] + c[i]);
        splat_i32(x: i32) -> I = [x; 8];
        load_i32(from: &[i32]) -> I = *from.first_chunk().expect("8 elements");
        load_bytes(from: &[u8]) -> I = {
            let bytes: &[u8; 16] = from.first_chunk().expect("16 bytes");
            std::array::from_fn(|i| bytemuck::cast([u16::from(bytes[2 * i]), u16::from(bytes[2 * i + 1])]))
        };
        dot_words(a: I, b: I, c: I) -> I = std::array::from_fn(|i| {
            let (a, b): ([i16; 2], [i16; 2]) = (bytemuck::cast(a[i]), bytemuck::cast(b[i]));
            c[i] + i32::from(a[0]) * i32::from(b[0]) + i32::from(a[1]) * i32::from(b[1])
        });
        store_clipped(high: [I; 2], low: [I; 2], to: &mut [u8; 16]) = {
            for (i, byte) in to.iter_mut().enumerate() {
                let sum = (high[i / 8][i % 8] << DIGIT_BITS) + low[i / 8][i % 8];
                *byte = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
            }
        };
        to_float(x: I) -> F = x.map(|x| x as f32);
        load_quads(from: &[I8x4], part: usize) -> I = {
            let halves: &[[i8; 2]] = bytemuck::cast_slice(&from[..8]);
            std::array::from_fn(|i| bytemuck::cast(halves[8 * part + i].map(i16::from)))
        };
        store(x: F, to: &mut [f32]) = *to.first_chunk_mut().expect("8 elements") = x;
        add(a: F, b: F) -> F = map2(a, b, |a, b| a + b);
        sub(a: F, b: F) -> F = map2(a, b, |a, b| a - b);
        mul(a: F, b: F) -> F = map2(a, b, |a, b| a * b);
        recip(x: F) -> F = x.map(|x| 1.0 / x);
        min(a: F, b: F) -> F = map2(a, b, |a, b| if a < b { a } else { b });
        max(a: F, b: F) -> F = map2(a, b, |a, b| if a > b { a } else { b });
        mul_add(a: F, b: F, c: F) -> F = std::array::from_fn(|i| a[i] * b[i] + c[i]);
        round(x: F) -> F = {
            // Adding 1.5 · 2²³ leaves no fraction bits; exact for |x| < 2²², rounded to even by the addition itself.
            const SHIFT: f32 = 12_582_912.0;
            x.map(|x| (x + SHIFT) - SHIFT)
        };
        scale(x: F, n: F) -> F = map2(x, n, |x, n| x * f32::from_bits(((n as i32 + 127) << 23) as u32));
    }
}
