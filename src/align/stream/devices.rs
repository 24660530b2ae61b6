//! The worker thread of each device.
//!
//! All devices take batches from one queue of pictures, each as soon as it has room: a slow one takes fewer. A GPU has
//! up to two batches in flight: while it computes one, the next is submitted.

use super::queue::{Batch, Queue};
use crate::align::task::Planned;
use crate::backend::Pending;
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A batch in flight, or why it could not be submitted.
type Submitted<'d, R> = (Batch, Result<Pending<'d, Vec<R>>>);

impl<T, R: Send> Queue<T, R> {
    /// The loop of a device's worker thread, until the last picture.
    pub(super) fn compute(&self, device: usize) {
        let end = catch_unwind(AssertUnwindSafe(|| self.compute_batches(device)));
        self.leave(end.err());
    }

    fn compute_batches(&self, device: usize) {
        let mut older: Option<Submitted<'_, R>> = None;
        while let Some(batch) = self.take(device, older.is_some()) {
            let submit = AssertUnwindSafe(|| self.submit(device, batch));
            let newer = catch_unwind(submit);
            if let Some(older) = older {
                self.finish(device, older);
            }
            older = newer.unwrap_or_else(|panic| resume_unwind(panic));
            // A host's batch is computed by now, and a refused one is run again in halves: neither waits for the next
            // batch.
            let is_done = |(_, found): &mut Submitted<'_, R>| self.stream.is_host || found.is_err();
            if let Some(newer) = older.take_if(is_done) {
                self.finish(device, newer);
            }
        }
        if let Some(older) = older {
            self.finish(device, older);
        }
    }

    fn submit(&self, device: usize, batch: Batch) -> Option<Submitted<'_, R>> {
        if batch.pictures.is_empty() {
            return None;
        }
        let found = self.stream.task.submit(device, &batch.pictures);
        Some((batch, found))
    }

    /// Waits for a batch, and hands its results to the queue.
    fn finish(&self, device: usize, (batch, found): Submitted<'_, R>) {
        let mut results = Vec::new();
        let run = |pictures: &[Planned<'_>]| self.stream.task.submit(device, pictures)?.wait();
        let end = in_halves(&batch.pictures, found.and_then(Pending::wait), &run, &mut results);
        if let Err(Error::Device { device, reason }) = end {
            self.fail(device, reason);
        }
        self.release(batch, results);
    }
}

/// Appends the pictures' results, in order. A batch that failed is run again in halves, down to single pictures, so
/// that one that is too large loses only itself.
///
/// # Errors
/// When the device itself fails: then `results` has those of the pictures before.
fn in_halves<R>(
    pictures: &[Planned<'_>],
    found: Result<Vec<R>>,
    run: &impl Fn(&[Planned<'_>]) -> Result<Vec<R>>,
    results: &mut Vec<Result<R>>,
) -> Result<()> {
    match found {
        Ok(found) => results.extend(found.into_iter().map(Ok)),
        Err(error @ Error::Device { .. }) => return Err(error),
        Err(error) if pictures.len() == 1 => results.push(Err(error)),
        Err(_) => {
            let (first, second) = pictures.split_at(pictures.len() / 2);
            in_halves(first, run(first), run, results)?;
            in_halves(second, run(second), run, results)?;
        }
    }
    Ok(())
}
