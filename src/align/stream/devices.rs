//! A thread for each device, and the order of their results.
//!
//! All devices take batches from the one source of pictures, each as soon as it has room: a slow one takes fewer. A GPU has
//! two batches: while it computes the one, the other is submitted. A batch's results lie ready under its number.

use super::batch;
use super::decoders::{Batch, Decoded, Next, Source};
use crate::align::planned::{Planned, PlannedPicture};
use crate::backend::Pending;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::lock::lock;
use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What a stream does to pictures, of which each gets an `R`.
pub(in crate::align) trait Task<R>: Send + Sync {
    /// The views of a picture.
    fn plan(&self, picture: &Picture) -> Result<Planned>;

    /// Submits pictures to one of the devices, by its number.
    fn submit(&self, device: usize, pictures: &[PlannedPicture<'_>]) -> Result<Pending<'_, Vec<R>>>;
}

/// A picture's tag and its result; none where a device failed before it was there.
pub(super) type Outcome<T, R> = (T, Option<Result<R>>);

/// The threads. Dropping them waits for them: their source must have been closed.
pub(super) struct Devices<T, R> {
    finished: Arc<Finished<T, R>>,
    threads: Vec<JoinHandle<()>>,
}

struct Finished<T, R> {
    state: Mutex<State<T, R>>,
    changed: Condvar,
}

struct State<T, R> {
    /// Results that the consumer has not taken, by the numbers of their batches.
    batches: HashMap<usize, Vec<Outcome<T, R>>>,
    /// How many devices run.
    running: usize,
    /// The first device that failed, and why.
    fault: Option<(String, String)>,
    /// What the first of the threads that panicked did so with.
    panic: Option<Box<dyn Any + Send>>,
}

impl<T: Send + 'static, R: Send + 'static> Devices<T, R> {
    /// One thread for each source; `batches` are the pictures that the devices take at once. On the host work is done when
    /// it is submitted.
    pub(super) fn start(
        source: impl Fn() -> Source<T>,
        batches: &[usize],
        is_host: bool,
        task: &Arc<dyn Task<R>>,
    ) -> Self {
        let state = State { batches: HashMap::new(), running: batches.len(), fault: None, panic: None };
        let finished = Arc::new(Finished { state: Mutex::new(state), changed: Condvar::new() });
        let start = |(number, &batch)| {
            let (task, finished) = (task.clone(), finished.clone());
            let device = Device { number, batch, is_host, source: source(), task, finished };
            std::thread::Builder::new().spawn(move || device.run_to_the_end()).ok()
        };
        let threads: Vec<_> = batches.iter().enumerate().filter_map(start).collect();
        lock(&finished.state).running -= batches.len() - threads.len();
        Self { threads, finished }
    }

    /// Whether there was no thread for any.
    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }

    /// The results of a batch; none where there is no such batch.
    pub(super) fn take(&self, batch: usize) -> Option<Vec<Outcome<T, R>>> {
        let mut state = lock(&self.finished.state);
        loop {
            let found = state.batches.remove(&batch);
            if found.is_some() || state.running == 0 {
                return found;
            }
            state = self.finished.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The first device that failed, and why.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        lock(&self.finished.state).fault.clone()
    }

    /// What a thread panicked with.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        lock(&self.finished.state).panic.take()
    }
}

impl<T, R> Drop for Devices<T, R> {
    fn drop(&mut self) {
        for thread in self.threads.drain(..) {
            // A panic of it is caught, for the consumer.
            let _ = thread.join();
        }
    }
}

/// A device, for its thread.
struct Device<T, R> {
    number: usize,
    batch: usize,
    is_host: bool,
    source: Source<T>,
    task: Arc<dyn Task<R>>,
    finished: Arc<Finished<T, R>>,
}

/// A batch under way; what is not submitted is lost, because a device had failed.
struct Submitted<'d, T, R> {
    batch: Batch<T>,
    found: Option<Result<Pending<'d, Vec<R>>>>,
}

impl<T, R: Send> Device<T, R> {
    fn run_to_the_end(&self) {
        let end = catch_unwind(AssertUnwindSafe(|| self.run()));
        if end.is_err() {
            self.source.stop();
        }
        let mut state = lock(&self.finished.state);
        state.running -= 1;
        state.panic = state.panic.take().or(end.err());
        self.finished.changed.notify_all();
    }

    fn run(&self) {
        let mut older: Option<Submitted<'_, T, R>> = None;
        loop {
            let (newer, ended) = match self.source.take(self.batch, older.is_some()) {
                Next::Batch(batch) => (Some(catch_unwind(AssertUnwindSafe(|| self.submit(batch)))), false),
                Next::Stalled => (None, false),
                Next::End => (None, true),
            };
            if let Some(older) = older {
                self.finish(older);
            }
            if ended {
                return;
            }
            older = newer.map(|newer| newer.unwrap_or_else(|panic| resume_unwind(panic)));
            // What is done, or could not be submitted beside the older one, need not wait for a newer one.
            let is_done = |newer: &mut Submitted<'_, T, R>| self.is_host || !matches!(newer.found, Some(Ok(_)));
            if let Some(newer) = older.take_if(is_done) {
                self.finish(newer);
            }
        }
    }

    fn submit(&self, batch: Batch<T>) -> Submitted<'_, T, R> {
        if lock(&self.finished.state).fault.is_some() {
            return Submitted { batch, found: None };
        }
        self.source.pause();
        let pictures = pictures(&batch);
        let found = match pictures.is_empty() {
            true => Ok(Pending::ready(Vec::new())),
            false => self.task.submit(self.number, &pictures),
        };
        Submitted { found: Some(found), batch }
    }

    /// Waits for a batch, releases it, and hands over its results.
    fn finish(&self, Submitted { mut batch, found }: Submitted<'_, T, R>) {
        let (lost, mut results) = (found.is_none(), Vec::new());
        if let Some(found) = found {
            let run = |pictures: &[PlannedPicture<'_>]| self.task.submit(self.number, pictures)?.wait();
            let end = batch::finish(&pictures(&batch), found.and_then(Pending::wait), &run, &mut results);
            if let Err(Error::Device { device, reason }) = end {
                self.source.stop();
                lock(&self.finished.state).fault.get_or_insert((device, reason));
            }
        }
        let mut results = results.into_iter();
        let outcome = |Decoded { tag, picture }| match picture {
            Err(error) if !lost => (tag, Some(Err(error))),
            _ => (tag, results.next()),
        };
        let outcomes = batch.pictures.drain(..).map(outcome).collect();
        let number = batch.number;
        self.source.release(batch);
        lock(&self.finished.state).batches.insert(number, outcomes);
        self.finished.changed.notify_all();
    }
}

/// The pictures of a batch that were decoded.
fn pictures<T>(batch: &Batch<T>) -> Vec<PlannedPicture<'_>> {
    let decoded = batch.pictures.iter().filter_map(|decoded| decoded.picture.as_ref().ok());
    decoded.map(|(picture, planned)| (picture, planned)).collect()
}
