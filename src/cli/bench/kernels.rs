//! The profile of a forward pass on a GPU, summed by kernel.

use crate::backend::{Dispatch, Profile};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Sums over some dispatches.
struct Total {
    name: &'static str,
    dispatches: usize,
    bytes: u64,
    flops: u64,
    /// None where a dispatch has no time.
    time: Option<Duration>,
}

impl Total {
    fn of<'a>(name: &'static str, dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        let mut total = Self { name, dispatches: 0, bytes: 0, flops: 0, time: Some(Duration::ZERO) };
        for dispatch in dispatches {
            total.dispatches += 1;
            total.bytes += dispatch.work.bytes;
            total.flops += dispatch.work.flops;
            total.time = total.time.zip(dispatch.time).map(|(sum, time)| sum + time);
        }
        total
    }

    /// GB/s and GFLOP/s.
    fn rates(&self) -> Option<(f64, f64)> {
        let seconds = self.time?.as_secs_f64();
        Some((self.bytes as f64 / seconds / 1e9, self.flops as f64 / seconds / 1e9))
    }

    fn line(&self) -> String {
        let Self { name, dispatches, bytes, flops, time } = self;
        let (mb, gflop) = (*bytes as f64 / 1e6, *flops as f64 / 1e9);
        let mut line = format!("{name:20} {dispatches:10} {mb:10.1} {gflop:10.2}");
        if let (Some(time), Some((read, speed))) = (time, self.rates()) {
            write!(line, " {:10.2} {read:10.2} {speed:10.2}", time.as_secs_f64() * 1e3).expect("a string takes it");
        }
        line + "\n"
    }

    fn json(&self) -> Value {
        let Self { name, dispatches, bytes, flops, time } = self;
        let seconds = time.map(|time| time.as_secs_f64());
        json!({ "name": name, "dispatches": dispatches, "bytes": bytes, "flops": flops, "seconds": seconds })
    }
}

/// A row for each kernel, in the order of their first use, then one for a layer and one for the whole pass.
fn totals(profile: &Profile) -> Vec<Total> {
    let dispatches = &profile.dispatches;
    let mut kernels: Vec<&'static str> = Vec::new();
    for Dispatch { kernel, .. } in dispatches {
        if !kernels.contains(kernel) {
            kernels.push(kernel);
        }
    }
    let of = |&name: &&'static str| Total::of(name, dispatches.iter().filter(|dispatch| dispatch.kernel == name));
    let mut totals: Vec<Total> = kernels.iter().map(of).collect();
    totals.extend(layer(dispatches).map(|layer| Total::of("one layer", layer)));
    totals.push(Total::of("all", dispatches));
    totals
}

/// The dispatches of one layer: each layer has its attention once, so they are those from one attention up to the next.
fn layer(dispatches: &[Dispatch]) -> Option<&[Dispatch]> {
    let mut attention = (0..dispatches.len()).filter(|&i| dispatches[i].kernel.starts_with("attention"));
    Some(&dispatches[attention.next()?..attention.next()?])
}

pub(super) fn text(profile: &Profile) -> String {
    let mut text = format!("one forward pass: {} submission(s)\n", profile.submissions);
    let timed = profile.dispatches.iter().all(|dispatch| dispatch.time.is_some());
    let times = if timed { "         ms       GB/s   GFLOP/s" } else { "" };
    writeln!(text, "{:20} {:>10} {:>10} {:>10} {times}", "kernel", "dispatches", "MB", "GFLOP")
        .expect("a string takes it");
    totals(profile).iter().for_each(|total| text += &total.line());
    text
}

pub(super) fn json(profile: &Profile) -> Value {
    let kernels: Vec<Value> = totals(profile).iter().map(Total::json).collect();
    json!({ "submissions": profile.submissions, "kernels": kernels })
}

#[cfg(test)]
mod tests {
    use super::{json, text};
    use crate::backend::{Dispatch, Profile, Work};
    use std::time::Duration;

    /// Two layers, of two kernels, between others; times in milliseconds.
    fn profile(times: impl Fn(u64) -> Option<u64>) -> Profile {
        let kernels = ["embed", "attention", "linear", "linear", "attention", "linear", "embed"];
        let dispatches = (1..).zip(kernels).map(|(i, kernel)| Dispatch {
            kernel,
            workgroups: [1; 3],
            work: Work { bytes: i * 1_000_000, flops: i * 300_000_000 },
            time: times(i).map(Duration::from_millis),
        });
        Profile { submissions: 2, dispatches: dispatches.collect(), ..Default::default() }
    }

    #[test]
    fn kernels_are_summed_in_the_order_of_their_first_use() {
        let lines: Vec<String> = text(&profile(|i| Some(2 * i))).lines().map(str::to_string).collect();
        let expected = [
            "one forward pass: 2 submission(s)",
            "kernel               dispatches         MB      GFLOP          ms       GB/s   GFLOP/s",
            "embed                         2        8.0       2.40      16.00       0.50     150.00",
            "attention                     2        7.0       2.10      14.00       0.50     150.00",
            "linear                        3       13.0       3.90      26.00       0.50     150.00",
            "one layer                     3        9.0       2.70      18.00       0.50     150.00",
            "all                           7       28.0       8.40      56.00       0.50     150.00",
        ];
        assert_eq!(lines, expected);
        // A missing time leaves out the sums that it is part of.
        let untimed = text(&profile(|i| (i != 3).then_some(i)));
        assert!(untimed.contains("GFLOP \n"), "{untimed}");
        assert!(untimed.contains("13.0       3.90\n") && untimed.contains("2.40       8.00 "), "{untimed}");
    }

    #[test]
    fn json_has_the_same_sums() {
        let found = json(&profile(|i| (i != 3).then_some(i)));
        let row = |name, dispatches, megabytes: u64, seconds: Option<f64>| {
            let (bytes, flops) = (megabytes * 1_000_000, megabytes * 300_000_000);
            json!({ "name": name, "dispatches": dispatches, "bytes": bytes, "flops": flops, "seconds": seconds })
        };
        let rows = [
            row("embed", 2, 8, Some(0.008)),
            row("attention", 2, 7, Some(0.007)),
            row("linear", 3, 13, None),
            row("one layer", 3, 9, None),
            row("all", 7, 28, None),
        ];
        assert_eq!(found, json!({ "submissions": 2, "kernels": rows }));
    }
}
