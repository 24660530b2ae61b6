//! The results of a stream, and its threads.

use super::queue::Queue;
use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The results of a [`Stream`](super::Stream), in the order of its input.
///
/// # Panics
/// [`Results::next`] panics if the input or a device's thread panicked, after all results that came before.
pub struct Results<T, R> {
    queue: Arc<Queue<T, R>>,
    threads: Vec<JoinHandle<()>>,
    /// Why there are no device or no decoding threads.
    refused: Option<String>,
}

impl<T, R> fmt::Debug for Results<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Results")
            .field("stream", &self.queue.stream)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static, R: Send + 'static> Results<T, R> {
    /// Starts the threads: one for each device, and those that decode.
    pub(super) fn start(queue: Queue<T, R>) -> Self {
        let mut results = Self { queue: Arc::new(queue), threads: Vec::new(), refused: None };
        results.refused = results.start_threads().err().map(|error| error.to_string());
        results
    }

    fn start_threads(&mut self) -> std::io::Result<()> {
        let (devices, decoders) = (self.queue.stream.batches.len(), self.queue.stream.threads);
        let devices = self.spawn(devices, |queue, device| queue.compute(device))?;
        self.queue.run_on(devices);
        self.spawn(decoders, |queue, _| queue.decode())?;
        Ok(())
    }

    /// Starts `count` threads, each with its number, or as many as the system gives; returns how many.
    ///
    /// # Errors
    /// When the system gives none.
    fn spawn(&mut self, count: usize, work: fn(&Queue<T, R>, usize)) -> std::io::Result<usize> {
        for number in 0..count {
            let queue = self.queue.clone();
            match Builder::new().spawn(move || work(&queue, number)) {
                Ok(thread) => self.threads.push(thread),
                Err(error) if number == 0 => return Err(error),
                Err(_) => return Ok(number),
            }
        }
        Ok(count)
    }
}

impl<T: Send + 'static, R: Send + 'static> Results<T, R> {
    /// As [`Results::next`], but pending where the result is not there within `patience`: for callers that have to look
    /// at something else now and then.
    ///
    /// ```
    /// # use crossalign::{Model, Views};
    /// use std::{task::Poll, time::Duration};
    /// # let model = Model::load("tests/golden/models/transformers", &Default::default())?;
    /// # let stream = model.stream(Views::default(), true, Default::default());
    /// let mut results = stream.files(["tests/golden/pictures/landscape.png"]);
    /// let result = loop {
    ///     match results.next_within(Duration::from_millis(50)) {
    ///         Poll::Ready(result) => break result,
    ///         Poll::Pending => println!("still at it"),
    ///     }
    /// };
    /// assert!(result.is_some_and(|(_, embeddings)| embeddings.is_ok()));
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    ///
    /// # Panics
    /// As [`Results::next`].
    pub fn next_within(&mut self, patience: Duration) -> Poll<Option<(T, Result<R>)>> {
        if let Some(reason) = &self.refused
            && let Some((number, job)) = self.queue.pull()
        {
            self.queue.ready(number, job.tag, Err(Error::device("host", format!("no thread: {reason}"))));
        }
        self.queue.next(patience)
    }
}

impl<T: Send + 'static, R: Send + 'static> Iterator for Results<T, R> {
    type Item = (T, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Poll::Ready(next) = self.next_within(Duration::MAX) {
                return next;
            }
        }
    }
}

impl<T, R> Drop for Results<T, R> {
    fn drop(&mut self) {
        drop(self.queue.stop());
        let pulling = self.queue.pulling();
        for thread in self.threads.drain(..).filter(|thread| Some(thread.thread().id()) != pulling) {
            // Its panics were caught: they went to the consumer or became a picture's error.
            let _ = thread.join();
        }
    }
}
