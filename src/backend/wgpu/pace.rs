//! How much work a submission holds.
//!
//! Watchdogs kill work that occupies a GPU for some seconds (2 s on Windows, 5 s and 20 s with Intel's drivers for
//! Linux), and the screen freezes meanwhile. So a submission holds what the device does in a fraction of that time, by
//! its last measured rate. No result depends on it.

use std::time::Duration;
use web_time::Instant;

/// Most floating-point operations of one dispatch: 0.2 s of a device of 0.1 TFLOP/s.
pub(super) const MAX_DISPATCH: u64 = 20_000_000_000;

/// Most floating-point operations of one submission, on any device.
pub(super) const MAX_SUBMISSION: u64 = 100_000_000_000;

/// Fewer floating-point operations are not worth a submission.
const MIN_SUBMISSION: u64 = 1_000_000_000;

/// Target time of a submission.
const SECONDS: f64 = 0.2;

/// Whether a dispatch of `next` operations goes to a new submission, after dispatches of `recorded` operations; `rate`
/// is the device's operations per second, if known.
pub(super) fn is_full(recorded: u64, next: u64, rate: Option<f64>) -> bool {
    let most = rate.map_or(MAX_DISPATCH, |rate| (rate * SECONDS) as u64).clamp(MIN_SUBMISSION, MAX_SUBMISSION);
    recorded > 0 && recorded + next > most
}

/// The rate of a device, measured from submission to result.
#[derive(Default)]
pub(super) struct Pace {
    pub(super) rate: Option<f64>,
    /// When the last result arrived.
    ended: Option<Instant>,
}

impl Pace {
    /// Notes that work of `flops` operations, submitted from `begun` on, has ended; the device began it when the work
    /// before it had ended.
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

    const GIGA: u64 = 1_000_000_000;

    #[test]
    fn a_submission_is_what_a_device_does_in_a_fifth_of_a_second() {
        // The known rate, and how many dispatches of 1 GFLOP fill a submission.
        let cases =
            [(None, 20), (Some(1e12), 100), (Some(3e11), 60), (Some(6e13), 100), (Some(1e10), 2), (Some(1.0), 1)];
        for (rate, gflop) in cases {
            assert!(!is_full((gflop - 1) * GIGA, GIGA, rate), "{rate:?}");
            assert!(is_full(gflop * GIGA, 1, rate), "{rate:?}");
        }
        assert!(!is_full(0, 1000 * GIGA, None), "none is empty");
    }

    #[test]
    fn a_rate_is_measured_from_when_the_device_was_free() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.measure(GIGA / 2, start);
        assert_eq!(pace.rate, None, "too little to tell");
        pace.measure(10 * GIGA, start.checked_sub(Duration::from_secs(3600)).unwrap_or(start));
        let first = pace.rate.unwrap();
        assert!(first > 1e10, "the hour before is another's: {first}");
    }
}
