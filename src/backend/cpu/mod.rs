//! The CPU backend: SIMD kernels over a pool of threads.
//!
//! Kernels are written once over the trait `Simd` and compiled for every [`SimdLevel`]; the level is chosen at run
//! time. Work is cut into tiles that one task each writes, so results do not depend on the number of threads. One file
//! per kernel; `tile`, `panel`, `grid` and `math` are what they share.

mod add_positions;
mod alignment_weights;
mod attention;
mod crop_resize;
mod embed_tokens;
mod gather_rows;
mod grid;
mod l2_normalize;
mod layer_norm;
mod linear;
mod math;
mod packed_weights;
mod panel;
mod pool;
mod rounded;
mod rows;
mod simd;
mod tile;
mod weighted_similarity;

use super::args::{check_layer, kernels};
use super::host::host_memory;
use super::{Backend, Precision, Shape, TransformerRow};
use crate::error::{Error, Result};
use pool::Pool;

pub use packed_weights::CpuLinear;
pub use simd::SimdLevel;

/// The CPU backend.
#[derive(Debug)]
pub struct Cpu {
    level: SimdLevel,
    pool: Pool,
}

impl Cpu {
    /// The fastest level of this machine, on `threads` threads (0: as many as the machine runs at once).
    ///
    /// # Errors
    /// When `threads` is more than 4 times what the machine runs at once, or the operating system refuses even one
    /// thread. If it refuses only some, fewer are started.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_level(SimdLevel::best(), threads)
    }

    /// As [`Cpu::new`], at a given level.
    ///
    /// # Errors
    /// As [`Cpu::new`], or when this machine does not have the level.
    pub fn with_level(level: SimdLevel, threads: usize) -> Result<Self> {
        if !level.is_available() {
            return Err(Error::device("cpu", format!("this processor does not have {level:?}")));
        }
        Ok(Self { level, pool: Pool::new(threads)? })
    }

    /// The level that the kernels run at.
    pub fn level(&self) -> SimdLevel {
        self.level
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Runs `work` in the backend's pool.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.run(work)
    }
}

impl Backend for Cpu {
    type Linear = CpuLinear;

    fn describe(&self) -> String {
        format!("cpu: {:?}, {} threads", self.level, self.threads())
    }

    fn threads(&self) -> usize {
        self.pool.threads()
    }

    fn preferred_rows(&self, row: TransformerRow) -> usize {
        // 24 MiB, most of a last-level cache of 32 MiB: what a kernel writes is still cached for the next one, and the
        // weights are read once for many rows. Neither half nor twice as much is faster on Zen 4.
        ((24 << 20) / (size_of::<f32>() * row.of_a_block())).max(1)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<CpuLinear> {
        check_layer(shape, weight, bias)?;
        Ok(CpuLinear::new(self.level, shape, weight, bias, precision))
    }

    /// Runs `work` in the pool, so that each kernel starts on a pool thread and none has to be woken for it.
    fn record_or_replay(&self, _: &mut (), _: usize, work: impl FnMut() -> Result<()> + Send) -> Result<()> {
        self.install(work)
    }

    host_memory!();
    kernels!(self, self);
}
