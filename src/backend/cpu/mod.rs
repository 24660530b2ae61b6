//! The CPU backend: SIMD kernels over a pool of threads.
//!
//! Kernels are written once over the trait `Simd` and compiled for every [`SimdLevel`]; the level is chosen at run
//! time. Work is cut into tiles that one task each writes, so results do not depend on the number of threads.
//! One file a kernel; `tile`, `panel`, `grid` and `math` are what they share.

mod attention;
mod crop_resize;
mod embed;
mod gather_rows;
mod grid;
mod l2_normalize;
mod layer_norm;
mod linear;
mod math;
mod panel;
mod rounded;
mod rows;
mod simd;
mod tile;
mod weighted_similarity;

use super::{Backend, CropOutput, CropPlan, Epilogue, HostTensor, Precision, Reduction, Rgb, Shape, contract};
use crate::error::{Error, Result};
use std::ops::Range;

pub use linear::CpuLinear;
pub use simd::SimdLevel;

/// The CPU backend.
#[derive(Debug)]
pub struct Cpu {
    level: SimdLevel,
    pool: rayon::ThreadPool,
}

/// The most threads for each that the machine runs at once: more are slower, and thousands stop it.
const MAX_THREADS: usize = 4;

impl Cpu {
    /// The highest level of this machine, on `threads` threads (0: as many as the machine runs at once).
    ///
    /// # Errors
    /// When they are more than 4 times as many as the machine runs at once, or the operating system refuses them.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_level(SimdLevel::best(), threads)
    }

    /// As [`Cpu::new`] with a level of choice.
    ///
    /// # Errors
    /// As [`Cpu::new`], or when this machine does not have the level.
    pub fn with_level(level: SimdLevel, threads: usize) -> Result<Self> {
        if !level.is_available() {
            return Err(Error::device("cpu", format!("this processor does not have {level:?}")));
        }
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        if threads > MAX_THREADS * at_once {
            let expected = format!("at most {}: this machine runs {at_once} at once", MAX_THREADS * at_once);
            return Err(Error::argument("threads", threads.to_string(), expected));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("crossalign-{i}"))
            .build()
            .map_err(|error| Error::device("cpu", format!("{threads} threads: {error}")))?;
        Ok(Self { level, pool })
    }

    /// The level that the kernels run at.
    pub fn level(&self) -> SimdLevel {
        self.level
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` in the backend's pool.
    fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

impl Backend for Cpu {
    type Tensor = HostTensor;
    type Linear = CpuLinear;
    type Recording = ();

    fn describe(&self) -> String {
        format!("cpu: {:?}, {} threads", self.level, self.threads())
    }

    fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn activation_budget(&self) -> usize {
        // Most of a server's last-level cache of 32 MiB: what a kernel writes is still there for the next one, and the
        // weights are read once for many rows. Neither half of it nor twice as much is faster on Zen 4.
        24 << 20
    }

    fn allocate(&self, shape: Shape) -> Result<HostTensor> {
        HostTensor::allocate(shape)
    }

    fn upload(&self, shape: Shape, data: &[f32]) -> Result<HostTensor> {
        HostTensor::upload(shape, data)
    }

    fn download(&self, tensor: &HostTensor) -> Result<Vec<f32>> {
        Ok(tensor.data().to_vec())
    }

    fn reshape(&self, tensor: &mut HostTensor, shape: Shape) -> Result<()> {
        tensor.reshape(shape)
    }

    fn pack(&self, shape: Shape, weight: &[f32], bias: Option<&[f32]>, precision: Precision) -> Result<CpuLinear> {
        contract::pack(shape, weight, bias)?;
        Ok(CpuLinear::new(self.level, shape, weight, bias, precision))
    }

    /// In the pool, so that each kernel begins on one of its threads and none has to be woken for it.
    fn replay(&self, _: &mut (), _: usize, work: impl FnMut() -> Result<()> + Send) -> Result<()> {
        self.install(work)
    }

    fn crop_resize(
        &self,
        picture: Rgb<'_>,
        plan: &CropPlan,
        views: Range<usize>,
        output: CropOutput<'_, HostTensor>,
    ) -> Result<()> {
        crop_resize::run(self, picture, plan, views, output)
    }

    fn linear(&self, input: &HostTensor, layer: &CpuLinear, epilogue: Epilogue, out: &mut HostTensor) -> Result<()> {
        linear::run(self, input, layer, epilogue, out)
    }

    fn layer_norm(
        &self,
        input: &HostTensor,
        gamma: &HostTensor,
        beta: &HostTensor,
        eps: f32,
        out: &mut HostTensor,
    ) -> Result<()> {
        layer_norm::run(self, input, gamma, beta, eps, out)
    }

    fn attention(
        &self,
        queries: &HostTensor,
        keys_values: &HostTensor,
        query_offsets: &[u32],
        key_offsets: &[u32],
        heads: usize,
        causal: bool,
        out: &mut HostTensor,
    ) -> Result<()> {
        attention::run(self, queries, keys_values, query_offsets, key_offsets, heads, causal, out)
    }

    fn embed_tokens(
        &self,
        tokens: &[u32],
        offsets: &[u32],
        table: &HostTensor,
        positions: &HostTensor,
        out: &mut HostTensor,
    ) -> Result<()> {
        embed::tokens(tokens, offsets, table, positions, out)
    }

    fn add_positions(
        &self,
        patches: &HostTensor,
        class: &HostTensor,
        positions: &HostTensor,
        out: &mut HostTensor,
    ) -> Result<()> {
        embed::add_positions(self, patches, class, positions, out)
    }

    fn gather_rows(&self, input: &HostTensor, rows: &[u32], out: &mut HostTensor) -> Result<()> {
        gather_rows::run(input, rows, out)
    }

    fn l2_normalize(&self, tensor: &mut HostTensor) -> Result<()> {
        l2_normalize::run(self, tensor)
    }

    fn alignment_weights(
        &self,
        rows: &HostTensor,
        anchors: &HostTensor,
        offsets: &[u32],
        scale: f32,
        out: &mut HostTensor,
    ) -> Result<()> {
        weighted_similarity::alignment_weights(self, rows, anchors, offsets, scale, out)
    }

    fn weighted_similarity(
        &self,
        views: &HostTensor,
        view_weights: &HostTensor,
        texts: &CpuLinear,
        text_weights: &HostTensor,
        classes: &[u32],
        reduction: Reduction,
        out: &mut HostTensor,
    ) -> Result<()> {
        weighted_similarity::run(self, views, view_weights, texts, text_weights, classes, reduction, out)
    }
}
