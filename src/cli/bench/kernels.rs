//! What a forward pass does on a GPU, kernel by kernel.

use crate::backend::{Dispatch, Profile};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Dispatches of one kind together.
struct Total {
    name: &'static str,
    dispatches: usize,
    bytes: u64,
    flops: u64,
    /// None where a dispatch has none.
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

    /// Bytes and operations a second, 10⁹.
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

/// A row for each kernel, in the order of their first use, then the layer's and the pass's.
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
