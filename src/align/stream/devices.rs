//! A thread for each device.
//!
//! All devices take batches from the one queue of pictures, each as soon as it has room: a slow one takes fewer. A GPU has
//! two batches: while it computes the one, the other is submitted.

use super::queue::{Batch, Queue};
use crate::align::task::Planned;
use crate::backend::Pending;
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A batch under way, or why it could not be submitted.
type Submitted<'d, R> = (Batch, Result<Pending<'d, Vec<R>>>);

impl<T, R: Send> Queue<T, R> {
    /// What a device's thread does until the end of the pictures.
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
            // What is done, or could not be submitted beside the older one, need not wait for a newer one.
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

    /// Waits for a batch, and hands over its results.
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

/// The results of pictures, in order. Where they are an error, the pictures are run in halves, down to single ones, so that
/// one that is too large loses only itself.
///
/// # Errors
/// When the device fails, which is no picture's fault: then `results` has those of the pictures before.
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
