//! Multiply-adds that never leave the registers: of f32, of bf16 pairs and of 8-bit quads.

use crossalign::backend::SimdLevel;
use std::hint::black_box;

/// Independent chains: more than latency times units (4 × 2) on any x86-64, few enough for 16 registers.
const CHAINS: usize = 12;

/// f32 operations of [`run`].
pub fn flops(steps: usize) -> f64 {
    let lanes = match SimdLevel::best() {
        SimdLevel::Portable => portable::LANES,
        SimdLevel::Avx2 => 8,
        _ => 16,
    };
    (2 * lanes * CHAINS * steps) as f64
}

/// `steps` multiply-adds on each chain, at the machine's best level.
pub fn run(steps: usize) {
    match SimdLevel::best() {
        // SAFETY: `best` is a level that this machine's processor has.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx512 | SimdLevel::Avx512Vnni | SimdLevel::Avx512Bf16 => unsafe { x86::avx512(steps) },
        // SAFETY: `best` is a level that this machine's processor has.
        #[cfg(target_arch = "x86_64")]
        SimdLevel::Avx2 => unsafe { x86::avx2(steps) },
        _ => portable::run(steps),
    }
}

/// Operations of [`run_bf16`]; none where the best level has no such instruction.
pub fn bf16_flops(steps: usize) -> Option<f64> {
    (SimdLevel::best() == SimdLevel::Avx512Bf16).then_some((4 * 16 * CHAINS * steps) as f64)
}

/// `steps` dot products of pairs on each chain.
pub fn run_bf16(steps: usize) {
    #[cfg(target_arch = "x86_64")]
    if SimdLevel::best() == SimdLevel::Avx512Bf16 {
        // SAFETY: `best` is a level that this machine's processor has.
        unsafe { x86::bf16(steps) }
    }
}

/// Operations of [`run_int8`]; none where the best level has no such instruction.
pub fn int8_ops(steps: usize) -> Option<f64> {
    (SimdLevel::best() >= SimdLevel::Avx512Vnni).then_some((8 * 16 * CHAINS * steps) as f64)
}

/// `steps` dot products of quads on each chain.
pub fn run_int8(steps: usize) {
    #[cfg(target_arch = "x86_64")]
    if SimdLevel::best() >= SimdLevel::Avx512Vnni {
        // SAFETY: `best` is a level that this machine's processor has, VNNI with it.
        unsafe { x86::int8(steps) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, black_box};
    use std::arch::x86_64::*;

    /// `x ← x + 0·0 + 0·0`.
    #[target_feature(enable = "avx512bf16,avx512f")]
    pub fn bf16(steps: usize) {
        // SAFETY: any bits are pairs of bf16.
        let zero: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(black_box(0))) };
        let mut chains = [_mm512_set1_ps(1.0); CHAINS];
        for _ in 0..steps {
            for x in &mut chains {
                *x = _mm512_dpbf16_ps(*x, zero, zero);
            }
        }
        black_box(chains);
    }

    #[target_feature(enable = "avx512vnni,avx512f")]
    pub fn int8(steps: usize) {
        let zero = _mm512_set1_epi32(black_box(0));
        let mut chains = [_mm512_set1_epi32(1); CHAINS];
        for _ in 0..steps {
            for x in &mut chains {
                *x = _mm512_dpbusd_epi32(*x, zero, zero);
            }
        }
        black_box(chains);
    }

    /// `x ← x/2 + 1` on every chain: it converges to 2, so no operand is ever slow.
    macro_rules! chains {
        ($name:ident, $features:literal, $splat:ident, $mul_add:ident) => {
            #[target_feature(enable = $features)]
            pub fn $name(steps: usize) {
                let (half, one) = ($splat(black_box(0.5)), $splat(black_box(1.0)));
                let mut chains = [one; CHAINS];
                for _ in 0..steps {
                    for x in &mut chains {
                        *x = $mul_add(*x, half, one);
                    }
                }
                black_box(chains);
            }
        };
    }

    chains!(avx2, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps);
    chains!(avx512, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps);
}

/// The same without intrinsics, for the compiler to map to what the target has.
mod portable {
    use super::{CHAINS, black_box};

    pub const LANES: usize = 8;

    pub fn run(steps: usize) {
        let (half, one) = (black_box(0.5f32), black_box(1.0f32));
        let mut chains = [[one; LANES]; CHAINS];
        for _ in 0..steps {
            for x in chains.as_flattened_mut() {
                // Fused only where that is an instruction and not a library call.
                *x = if cfg!(target_arch = "aarch64") { x.mul_add(half, one) } else { *x * half + one };
            }
        }
        black_box(chains);
    }
}
