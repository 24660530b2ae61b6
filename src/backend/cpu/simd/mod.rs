//! Vectors of f32 at each instruction-set level, and the choice between the levels at run time.
//!
//! A level's type ([`Avx2`], [`Avx512`]) is a proof that the processor has the instructions: it can only be made
//! by asking the processor. That keeps the kernels free of `unsafe`: they are generic over [`Simd`] and run inside
//! [`Simd::call`], whose target features let the operations inline.

mod portable;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use portable::Portable;
#[cfg(target_arch = "x86_64")]
use x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni};

pub(super) use vector::{Bf16x2, DIGIT_BITS, I8x4, Routine, Simd, SimdTask};

/// An instruction-set level of the CPU backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// What every processor of the architecture has; vectorised by the compiler.
    Portable,
    /// x86-64 with AVX2, FMA and F16C: 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 16 lanes.
    Avx512,
    /// As [`SimdLevel::Avx512`], with the integer dot products of AVX512-VNNI.
    Avx512Vnni,
    /// As [`SimdLevel::Avx512Vnni`], with the dot products of AVX512-BF16.
    Avx512Bf16,
}

impl SimdLevel {
    /// All levels, the lowest first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16];

    /// Whether this machine's processor has the level.
    #[cfg(target_arch = "x86_64")]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Avx2 => Avx2::detect().is_some(),
            Self::Avx512 => Avx512::detect().is_some(),
            Self::Avx512Vnni => Avx512Vnni::detect().is_some(),
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some(),
        }
    }

    /// Whether this machine's processor has the level.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_available(self) -> bool {
        self == Self::Portable
    }

    /// The fastest level that this machine has: the highest, but not [`SimdLevel::Avx512Bf16`] where its dot products
    /// are slower than the multiply-adds that they replace, as on Intel's processors.
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|level| level.is_fast()).unwrap_or(Self::Portable)
    }

    fn is_fast(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512Bf16 {
            return Avx512Bf16::detect().is_some_and(Avx512Bf16::is_fast);
        }
        self.is_available()
    }

    /// How matrix products are tiled at this level.
    pub(super) fn tiling(self) -> Tiling {
        struct Read;
        impl SimdTask for Read {
            type Output = Tiling;
            fn run<S: Simd>(self, _: S) -> Tiling {
                Tiling {
                    panel_width: S::TILE_VECTORS * S::LANES,
                    tile_rows: S::TILE_ROWS,
                    lanes: S::LANES,
                    row_block: S::ROW_BLOCK,
                    pair_parts: S::PAIR_PARTS,
                    quad_parts: S::QUAD_PARTS,
                }
            }
        }
        self.dispatch(Read)
    }

    /// Runs a kernel at this level, or at the portable one where the processor lacks it.
    pub(super) fn dispatch<K: SimdTask>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Portable => Portable.call(kernel),
            Self::Avx2 => call(Avx2::detect(), kernel),
            Self::Avx512 => call(Avx512::detect(), kernel),
            Self::Avx512Vnni => call(Avx512Vnni::detect(), kernel),
            Self::Avx512Bf16 => call(Avx512Bf16::detect(), kernel),
        };
        #[cfg(not(target_arch = "x86_64"))]
        Portable.call(kernel)
    }
}

/// Runs a kernel on a level's vectors, or on the portable ones if the processor lacks the level.
#[cfg(target_arch = "x86_64")]
fn call<S: Simd, K: SimdTask>(simd: Option<S>, kernel: K) -> K::Output {
    match simd {
        Some(simd) => simd.call(kernel),
        None => Portable.call(kernel),
    }
}

/// The cache that memory is prefetched into.
#[derive(Clone, Copy)]
pub(super) enum Near {
    /// The first-level cache, for what is used within a tile.
    First,
    /// The second-level cache.
    Second,
}

/// Prefetches the cache line at an address. Any address will do, since nothing is read.
#[inline(always)]
pub(super) fn prefetch<T>(line: *const T, near: Near) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and no address makes it fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        match near {
            Near::First => _mm_prefetch::<_MM_HINT_T0>(line.cast()),
            Near::Second => _mm_prefetch::<_MM_HINT_T1>(line.cast()),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (line, near);
}

/// Prefetches all cache lines of `count` elements from an address on.
#[inline(always)]
pub(super) fn prefetch_lines<T>(from: *const T, count: usize, near: Near) {
    for first in (0..count).step_by(64 / size_of::<T>()) {
        prefetch(from.wrapping_add(first), near);
    }
}

/// How a level tiles matrix products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    /// Columns of a panel.
    pub(super) panel_width: usize,
    /// [`Simd::TILE_ROWS`]
    pub(super) tile_rows: usize,
    /// [`Simd::LANES`]
    pub(super) lanes: usize,
    /// [`Simd::ROW_BLOCK`]
    pub(super) row_block: usize,
    /// [`Simd::PAIR_PARTS`]
    pub(super) pair_parts: usize,
    /// [`Simd::QUAD_PARTS`]
    pub(super) quad_parts: usize,
}
