//! How much work a submission holds.
//!
//! Watchdogs end work that keeps a GPU for some seconds (2 s on Windows, 5 s and 20 s with Intel's drivers for Linux), and a
//! screen stands still meanwhile. So a submission holds what the device does in a fraction of that, by the rate that it was
//! last measured at. No result depends on it.

use std::time::{Duration, Instant};

/// Floating-point operations of one dispatch at most: 0.2 s of a device of 0.1 TFLOP/s.
pub(super) const MAX_DISPATCH: u64 = 20_000_000_000;

/// Of one submission at most, on whatever device.
const MAX_SUBMISSION: u64 = 100_000_000_000;

/// Below this a submission costs more than it bounds.
const MIN_SUBMISSION: u64 = 1_000_000_000;

/// What a submission is to take.
const SECONDS: f64 = 0.2;

/// Whether a dispatch goes to the next submission, behind dispatches of `recorded` operations, on a device that does `rate`
/// of them a second, where that is known.
pub(super) fn is_full(recorded: u64, next: u64, rate: Option<f64>) -> bool {
    let most = rate.map_or(MAX_DISPATCH, |rate| (rate * SECONDS) as u64).clamp(MIN_SUBMISSION, MAX_SUBMISSION);
    recorded > 0 && recorded + next > most
}

/// The rate of a device, measured from submission to result.
#[derive(Default)]
pub(super) struct Pace {
    rate: Option<f64>,
    /// When the last result was there.
    ended: Option<Instant>,
}

impl Pace {
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Work of so many operations, submitted from `begun` on, has ended; it began when what was before it had.
    pub(super) fn measure(&mut self, flops: u64, begun: Instant) {
        let now = Instant::now();
        let begun = self.ended.replace(now).map_or(begun, |ended| ended.max(begun));
        if flops >= MIN_SUBMISSION {
            let seconds = (now - begun).max(Duration::from_micros(1)).as_secs_f64();
            self.rate = Some(flops as f64 / seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::args::{AttentionArgs, LinearArgs};
    use crate::backend::{Backend, Epilogue, Precision, Shape, Shaped, Wgpu, WgpuTensor};
    use crate::error::{Error, Result};

    const GIGA: u64 = 1_000_000_000;

    #[test]
    fn a_submission_is_what_a_device_does_in_a_fifth_of_a_second() {
        // What is known of the rate, and where a submission of dispatches of 1 GFLOP ends.
        let cases =
            [(None, 20), (Some(1e12), 100), (Some(3e11), 60), (Some(6e13), 100), (Some(1e10), 2), (Some(1.0), 1)];
        for (rate, gflop) in cases {
            assert!(!is_full((gflop - 1) * GIGA, GIGA, rate), "{rate:?}");
            assert!(is_full(gflop * GIGA, 1, rate), "{rate:?}");
        }
        assert!(!is_full(0, 1000 * GIGA, None), "none is empty");
    }

    /// A layer of a tower: so many sequences of so many tokens.
    fn layer(device: &Wgpu, width: usize, heads: usize, tokens: usize, sequences: usize) -> Result<()> {
        let rows = tokens * sequences;
        let tensor = |cols| device.allocate(Shape::new(rows, cols));
        let linear = |input: &WgpuTensor, outputs: usize| {
            let shape = Shape::new(outputs, input.shape().cols);
            let layer = device.pack(shape, &vec![0.0; shape.len()], None, Precision::F32)?;
            let mut out = tensor(outputs)?;
            device.linear(LinearArgs { input, layer: &layer, epilogue: Epilogue::Store, out: &mut out })?;
            Ok::<_, Error>(out)
        };
        let stream = tensor(width)?;
        let offsets: Vec<u32> = (0..=sequences).map(|sequence| (sequence * tokens) as u32).collect();
        let (queries, keys_values, mut out) = (linear(&stream, width)?, linear(&stream, 2 * width)?, tensor(width)?);
        device.attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: &offsets,
            key_offsets: &offsets,
            heads,
            causal: false,
            out: &mut out,
        })?;
        linear(&linear(&linear(&out, width)?, 4 * width)?, width).map(drop)
    }

    #[test]
    #[cfg_attr(not(host_vulkan), ignore = "no Vulkan driver")]
    fn the_towers_submissions_are_bounded() {
        // The batches that fit the activation budget, and B/32's with 61 views.
        let towers = [
            ("B/32", 768, 12, 50, 61),
            ("L/14@336", 1024, 16, 577, 11),
            ("B/32's texts", 512, 8, 77, 170),
            ("L/14's texts", 768, 12, 77, 113),
        ];
        for (name, width, heads, tokens, sequences) in towers {
            let device = Wgpu::new(Some(0)).unwrap();
            let mut result = Ok(());
            let profile = device.profile(&mut || {
                result = layer(&device, width, heads, tokens, sequences).and_then(|()| device.flush());
            });
            result.unwrap();
            let profile = profile.unwrap();
            let flops: Vec<u64> = profile.dispatches.iter().map(|dispatch| dispatch.work.flops).collect();
            // All layers, where the device is so fast that its rate is no bound.
            let (mut held, mut largest) = (0, 0);
            for &next in flops.iter().cycle().take(24 * flops.len()) {
                held = if is_full(held, next, Some(1e15)) { next } else { held + next };
                largest = largest.max(held);
            }
            let (first, dispatch) = (profile.largest_submission, flops.iter().copied().max().unwrap());
            let gflop = |flops: u64| flops as f64 / 1e9;
            let [all, largest_, first_, dispatch_] = [flops.iter().sum(), largest, first, dispatch].map(gflop);
            println!(
                "{name}: {all:.1} GFLOP a layer; a submission {largest_:.1} at most, {first_:.1} at first; {dispatch_:.1} a dispatch"
            );
            assert!(dispatch <= MAX_DISPATCH && first <= MAX_DISPATCH && largest <= MAX_SUBMISSION, "{name}");
        }
    }

    #[test]
    fn a_rate_is_measured_from_when_the_device_was_free() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.measure(GIGA / 2, start);
        assert_eq!(pace.rate(), None, "too little to tell");
        pace.measure(10 * GIGA, start.checked_sub(Duration::from_secs(3600)).unwrap_or(start));
        let first = pace.rate().unwrap();
        assert!(first > 1e10, "the hour before is another's: {first}");
    }
}
