//! What the machine can do, measured in the same run, and benchmarks printed as a share of it.
//!
//! | ceiling | measured as |
//! | --- | --- |
//! | bf16, GFLOP/s | the same of AVX512-BF16 dot products, where the machine has them |
//! | int8, Gop/s | the same of AVX512-VNNI dot products |
//! | FMA, GFLOP/s | independent chains of f32 multiply-adds in registers, at [`SimdLevel::best`](crossalign::backend::SimdLevel) |
//! | read, GB/s | the sum of a buffer far larger than the last-level cache |
//!
//! Each is the best of many short repetitions, for as many threads as the benchmark has, measured again after each
//! benchmark: other load on the machine can only make a ceiling too low, never too high. Every level is compared with
//! the best one's ceiling.

#![allow(dead_code, reason = "no bench uses all of it")]

mod fma;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

/// Samples of a benchmark: criterion's least, for some take seconds each.
const SAMPLES: usize = 10;

/// The machine's rates.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// f32 operations, 10⁹ a second; a multiply-add is two.
    pub fma: f64,
    /// The same of bf16 dot products, where the machine has them.
    pub bf16: Option<f64>,
    /// The same of 8-bit integer dot products.
    pub int8: Option<f64>,
    /// Bytes read from memory, 10⁹ a second.
    pub read: f64,
}

impl Ceiling {
    /// The ceiling of so many threads: measured again each time it is asked for, and the best so far.
    pub fn of(threads: usize) -> Self {
        static BEST: Mutex<Option<HashMap<usize, Ceiling>>> = Mutex::new(None);
        let both = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b));
        let measured = Self::measure(threads);
        let mut best = BEST.lock().expect("no panic while measuring");
        let best = best.get_or_insert_default().entry(threads).or_insert(measured);
        *best = Self {
            fma: best.fma.max(measured.fma),
            bf16: both(best.bf16, measured.bf16),
            int8: both(best.int8, measured.int8),
            read: best.read.max(measured.read),
        };
        *best
    }

    fn measure(threads: usize) -> Self {
        const STEPS: usize = 1 << 20; // some milliseconds
        const BYTES: usize = 256 << 20;
        let flops = fma::flops(STEPS) * threads as f64;
        let buffer = vec![1u64; BYTES / size_of::<u64>()];
        let parts: Vec<&[u64]> = buffer.chunks(buffer.len().div_ceil(threads)).collect();
        Self {
            fma: flops / fastest(threads, 40, |_| fma::run(STEPS)) / 1e9,
            bf16: fma::bf16_flops(STEPS)
                .map(|flops| flops * threads as f64 / fastest(threads, 40, |_| fma::run_bf16(STEPS)) / 1e9),
            int8: fma::int8_ops(STEPS)
                .map(|ops| ops * threads as f64 / fastest(threads, 40, |_| fma::run_int8(STEPS)) / 1e9),
            read: BYTES as f64 / fastest(threads, 10, |thread| sum(parts[thread])) / 1e9,
        }
    }
}

/// Seconds of the fastest of some repetitions of `work(thread)` on all threads together.
fn fastest(threads: usize, repetitions: usize, work: impl Fn(usize) + Sync) -> f64 {
    let barrier = Barrier::new(threads);
    let measure = |thread| {
        let mut best = Duration::MAX;
        for _ in 0..repetitions {
            barrier.wait();
            let start = Instant::now();
            work(thread);
            barrier.wait();
            best = best.min(start.elapsed());
        }
        best
    };
    let best = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || measure(thread))).collect();
        // A thread that leaves the first barrier late starts its clock late: the longest is the true one.
        others.into_iter().fold(measure(0), |best, other| best.max(other.join().expect("no panic")))
    });
    best.as_secs_f64()
}

/// Reads a buffer, with loads that do not wait for one another.
fn sum(buffer: &[u64]) {
    let mut sums = [0u64; 32];
    for block in buffer.as_chunks::<32>().0 {
        for (sum, &x) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(x);
        }
    }
    black_box(sums);
}

/// What one iteration of a benchmark does, to be set against a [`Ceiling`].
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// f32 operations, two for each multiply-add; against the FMA ceiling.
    Flops(f64),
    /// Operations on bf16 pairs; against the ceiling of their dot product where the machine has it, else of FMA.
    Bf16(f64),
    /// Operations on 8-bit integers; against the ceiling of their dot product where the machine has it, else of FMA.
    Int8(f64),
    /// Operations of 32-bit integers, two for each multiply-add; against the FMA ceiling, of which integers can
    /// reach half at best: their multiply-add is two instructions.
    IntegerOps(f64),
    /// Bytes that have to come from memory; against the read ceiling.
    Bytes(f64),
}

impl Work {
    /// Work and rate as text: `187.3 GFLOP/s, 81% of the FMA ceiling (231)`.
    fn rate(self, seconds: f64, ceiling: Ceiling) -> String {
        let (amount, unit, name, ceiling) = match self {
            Self::Flops(amount) => (amount, "GFLOP/s", "FMA", ceiling.fma),
            Self::Bf16(amount) => match ceiling.bf16 {
                Some(bf16) => (amount, "GFLOP/s", "bf16", bf16),
                None => (amount, "GFLOP/s", "FMA", ceiling.fma),
            },
            Self::Int8(amount) => match ceiling.int8 {
                Some(int8) => (amount, "Gop/s", "int8", int8),
                None => (amount, "Gop/s", "FMA", ceiling.fma),
            },
            Self::IntegerOps(amount) => (amount, "integer Gop/s", "FMA", ceiling.fma),
            Self::Bytes(amount) => (amount, "GB/s", "read", ceiling.read),
        };
        let rate = amount / seconds / 1e9;
        format!("{rate:.1} {unit}, {:.0}% of the {name} ceiling ({ceiling:.0})", 100.0 * rate / ceiling)
    }
}

/// Criterion without plots and with fewer resamples, which would take longer than the benchmarks.
pub fn criterion() -> Criterion {
    Criterion::default().without_plots().nresamples(10_000)
}

/// A criterion group whose benchmarks print their rate and its share of the ceiling.
pub struct Group<'a> {
    name: &'a str,
    group: BenchmarkGroup<'a, WallTime>,
}

impl<'a> Group<'a> {
    /// A group with about `seconds` of measurement for each benchmark.
    pub fn new(criterion: &'a mut Criterion, name: &'a str, seconds: f64) -> Self {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(SAMPLES).sampling_mode(SamplingMode::Flat);
        group.measurement_time(Duration::from_secs_f64(seconds)).warm_up_time(Duration::from_secs_f64(seconds / 5.0));
        Self { name, group }
    }

    /// Times `routine`, which handles so many `elements` and does `work` on `threads` threads.
    ///
    /// The printed rate is that of the median of the very samples that criterion took.
    pub fn bench(&mut self, name: &str, threads: usize, elements: u64, work: Work, mut routine: impl FnMut()) {
        let mut samples = Vec::new();
        self.group.throughput(Throughput::Elements(elements));
        self.group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let start = Instant::now();
                for _ in 0..iterations {
                    routine();
                }
                let elapsed = start.elapsed();
                samples.push(elapsed.as_secs_f64() / iterations as f64);
                elapsed
            });
        });
        // The warm-up's samples come first. A filtered benchmark has none, one run with --test too few.
        if let Some(warm_up @ 1..) = samples.len().checked_sub(SAMPLES) {
            let rate = work.rate(median(&mut samples[warm_up..]), Ceiling::of(threads));
            println!("{}/{name}: {rate}", self.name);
        }
    }
}

/// The median, as criterion takes it.
fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len().is_multiple_of(2) { (samples[middle - 1] + samples[middle]) / 2.0 } else { samples[middle] }
}
