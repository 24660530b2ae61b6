//! What the threads of a stream share: its pictures, in order, from the input to the consumer, within a budget of bytes.
//!
//! ```text
//! input ── pulled by one thread at a time ──▶ Working │ Waiting ──▶ Ready ── taken ──▶ Held ── released ──▶ Done ──▶ consumer
//!                                             decoding threads               devices
//! ```
//!
//! A picture is charged to the budget from the pull until its batch is released: first the bytes that the input holds,
//! then its encoded bytes, with its decoded ones while it is decoded, at last its pixels and the tables of its views. A
//! thread pulls only while less than the budget is charged, and decodes only what fits; the oldest picture is decoded
//! even if it does not fit, once no batch is held. A batch takes no more than its share of the budget, so that there is
//! room to decode the next one meanwhile. The number of pictures is bounded from the pull until their results are
//! taken.
//!
//! No order of events deadlocks. All waits are for one condition variable, whose lock is never held while the input, a
//! decoder or a device runs. A working picture waits for nothing, and a device that holds a batch releases it without
//! waiting for others. One device at a time fills a batch. Suppose that it waits for the next picture:
//! * It is *working*: it gets ready.
//! * It is *waiting* for room: a device that has pictures, in this batch or an earlier one, is told to go on with them and
//!   releases them. Then no batch is held, and the picture goes on.
//! * It is not pulled, because the budget is full: all that is charged is in batches, and the same holds.
//! * It is not pulled, because too many results are not taken: they are in front of it, and the consumer can take them.
//! * It is not pulled, because decoding is paused: only while a device computes.
//! * It is not pulled, because the input has not given it: a batch is not kept back for it when [`PATIENCE`] has passed and
//!   nothing happened.

use super::Stream;
use super::input::Job;
use crate::align::task::Planned;
use crate::error::{Error, Result};
use crate::lock::lock;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::{ThreadId, current};
use std::time::Duration;

/// How long a batch that could be larger waits for an input that gives nothing. An iterator over what is in memory
/// takes microseconds; one that waits for a network or for the results themselves may take for ever.
const PATIENCE: Duration = Duration::from_millis(5);

pub(super) type Jobs<T> = Box<dyn Iterator<Item = Job<T>> + Send>;

type Guard<'a, T, R> = MutexGuard<'a, State<T, R>>;

pub(super) struct Queue<T, R> {
    pub(super) stream: Stream<R>,
    state: Mutex<State<T, R>>,
    changed: Condvar,
}

struct State<T, R> {
    /// None while a thread pulls, and after the end.
    input: Option<Jobs<T>>,
    /// The thread that pulls.
    pulling: Option<ThreadId>,
    /// Nothing more is pulled, decoded or taken.
    stopped: bool,
    /// The pictures whose results the consumer has not taken, oldest first.
    slots: VecDeque<Slot<T, R>>,
    /// The number of the first slot's picture; they count from 0, in the order of the pull.
    first: usize,
    /// The number of the first picture that no device has taken.
    next: usize,
    /// The bytes charged for all pictures.
    charged: usize,
    /// A device is filling a batch; the others wait, so that it is full sooner.
    filling: bool,
    /// The host computes a batch, and decoding is to leave it the processors.
    paused: bool,
    /// How many devices run.
    devices: usize,
    /// The first device that failed, and why.
    fault: Option<(String, String)>,
    /// The payload of the first panic of the input or a device's thread.
    panic: Option<Box<dyn Any + Send>>,
    /// How many pictures' results the consumer has taken, errors not counted.
    finished: usize,
    /// `finished` when the consumer reached the first picture that was lost with its device.
    finished_before: Option<usize>,
}

struct Slot<T, R> {
    charged: usize,
    /// There once the picture is decoded or refused.
    tag: Option<T>,
    stage: Stage<R>,
}

enum Stage<R> {
    Working,
    /// Decoding waits for room in the budget.
    Waiting,
    Ready(Planned<'static>),
    /// In a batch; or lost with the device that failed.
    Held,
    Done(Result<R>),
}

/// Pictures that a device takes together, with their numbers.
#[derive(Default)]
pub(super) struct Batch {
    numbers: Vec<usize>,
    pub(super) pictures: Vec<Planned<'static>>,
}

impl<T, R> State<T, R> {
    /// The input gives no more.
    fn has_ended(&self) -> bool {
        self.input.is_none() && self.pulling.is_none()
    }

    fn has_room(&self, stream: &Stream<R>) -> bool {
        self.charged < stream.bytes && self.slots.len() < stream.pictures
    }

    /// Whether a picture may be charged with `bytes`: they are within the budget, or it is the oldest that is not done.
    fn fits(&self, number: usize, bytes: usize, budget: usize) -> bool {
        let at = number - self.first;
        let others = self.charged - self.slots[at].charged;
        let mut older = self.slots.range(..at);
        others.saturating_add(bytes) <= budget || older.all(|slot| matches!(slot.stage, Stage::Done(_)))
    }

    fn slot(&mut self, number: usize) -> &mut Slot<T, R> {
        &mut self.slots[number - self.first]
    }

    fn charge(&mut self, number: usize, bytes: usize) {
        let before = std::mem::replace(&mut self.slot(number).charged, bytes);
        self.charged = self.charged - before + bytes;
    }

    /// The error of a picture that was in flight when a device failed.
    fn lost(&mut self) -> Error {
        let finished = *self.finished_before.get_or_insert(self.finished);
        let (device, reason) = self.fault.clone().unwrap_or_default();
        Error::device(device, format!("{reason}; pictures finished before: {finished}"))
    }
}

impl<T, R> Queue<T, R> {
    pub(super) fn new(stream: Stream<R>, input: Jobs<T>) -> Self {
        let state = State {
            input: Some(input),
            pulling: None,
            stopped: false,
            slots: VecDeque::new(),
            first: 0,
            next: 0,
            charged: 0,
            filling: false,
            paused: false,
            devices: 0,
            fault: None,
            panic: None,
            finished: 0,
            finished_before: None,
        };
        Self { stream, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The input's next picture, with its number.
    pub(super) fn pull(&self) -> Option<(usize, Job<T>)> {
        let mut state = self.wait_while(lock(&self.state), |state| {
            let is_free = state.input.is_some() && !state.paused && state.has_room(&self.stream);
            !is_free && !state.stopped && !state.has_ended()
        });
        let mut input = state.input.take()?;
        state.pulling = Some(current().id());
        drop(state);
        let next = catch_unwind(AssertUnwindSafe(|| input.next()));
        let mut state = lock(&self.state);
        state.pulling = None;
        self.changed.notify_all();
        match next {
            _ if state.stopped => None, // stopped while the input ran
            Ok(Some(job)) => {
                state.input = Some(input);
                state.charged += job.held;
                state.slots.push_back(Slot { charged: job.held, tag: None, stage: Stage::Working });
                Some((state.first + state.slots.len() - 1, job))
            }
            end => {
                state.panic = end.err();
                None
            }
        }
    }

    /// Charges a picture with `there`, its encoded bytes, waits until `more` fit the budget too or it is the oldest
    /// that is not done, and charges these.
    pub(super) fn make_room(&self, number: usize, there: usize, more: usize) -> Result<()> {
        let (bytes, budget) = (there.saturating_add(more), self.stream.bytes);
        let mut state = lock(&self.state);
        state.charge(number, there);
        if !state.fits(number, bytes, budget) {
            state.slot(number).stage = Stage::Waiting;
            self.changed.notify_all();
            state = self.wait_while(state, |state| !state.stopped && !state.fits(number, bytes, budget));
            state.slot(number).stage = Stage::Working;
        }
        if state.stopped {
            return Err(Error::argument("picture", "a stream that was stopped", "one that goes on"));
        }
        state.charge(number, bytes);
        Ok(())
    }

    /// Stores a picture that is decoded and planned, or why it cannot be.
    pub(super) fn ready(&self, number: usize, tag: T, planned: Result<Planned<'static>>) {
        let mut state = lock(&self.state);
        state.charge(number, planned.as_ref().map_or(0, Planned::bytes));
        let stage = match planned {
            Ok(planned) => Stage::Ready(planned),
            Err(_) if state.stopped => Stage::Held,
            Err(error) => Stage::Done(Err(error)),
        };
        let slot = state.slot(number);
        (slot.tag, slot.stage) = (Some(tag), stage);
        self.changed.notify_all();
    }

    /// Sets how many devices run.
    pub(super) fn run_on(&self, devices: usize) {
        lock(&self.state).devices = devices;
    }

    /// The next batch of pictures, in order; `busy` tells that the device has an earlier batch in flight. The batch is
    /// empty if no picture can come before held batches are released, or none comes within [`PATIENCE`]; none after the
    /// last.
    pub(super) fn take(&self, device: usize, busy: bool) -> Option<Batch> {
        let (most, most_bytes) = (self.stream.batches[device], self.stream.batch_bytes);
        let (mut batch, mut charged) = (Batch::default(), 0);
        let (mut state, mut late) = (lock(&self.state), false);
        while state.filling && !state.stopped {
            (state, late) = self.wait(state, busy);
            if late {
                return Some(batch);
            }
        }
        state.filling = true;
        while batch.pictures.len() < most && charged < most_bytes && !late && !state.stopped {
            let has_pictures = busy || !batch.pictures.is_empty();
            let (number, at) = (state.next, state.next - state.first);
            match state.slots.get(at).map(|slot| &slot.stage) {
                Some(Stage::Ready(_)) => {
                    let slot = &mut state.slots[at];
                    if let Stage::Ready(picture) = std::mem::replace(&mut slot.stage, Stage::Held) {
                        batch.pictures.push(picture);
                    }
                    batch.numbers.push(number);
                    charged += slot.charged;
                    state.next += 1;
                }
                Some(Stage::Done(_)) => state.next += 1,
                Some(Stage::Waiting) if has_pictures => break,
                None if state.has_ended() || (has_pictures && !state.has_room(&self.stream)) => break,
                slot => {
                    let is_pulled = slot.is_some();
                    (state, late) = self.wait(state, has_pictures && !is_pulled);
                }
            }
        }
        state.filling = false;
        self.changed.notify_all();
        let are_taken = state.has_ended() && state.next == state.first + state.slots.len();
        if state.stopped || (are_taken && batch.pictures.is_empty()) {
            return None;
        }
        state.paused = self.stream.alternate && !batch.pictures.is_empty();
        Some(batch)
    }

    /// Takes a batch back with its results; where the device failed, they are those of its first pictures.
    pub(super) fn release(&self, batch: Batch, results: Vec<Result<R>>) {
        let Batch { numbers, pictures } = batch;
        drop(pictures);
        let mut state = lock(&self.state);
        numbers.iter().for_each(|&number| state.charge(number, 0));
        for (number, result) in numbers.into_iter().zip(results) {
            state.slot(number).stage = Stage::Done(result);
        }
        state.paused = false;
        self.changed.notify_all();
    }

    /// Notes why a device failed, and stops the stream.
    pub(super) fn fail(&self, device: String, reason: String) {
        lock(&self.state).fault.get_or_insert((device, reason));
        drop(self.stop());
    }

    /// Notes that a device's thread ends, with its panic if there was one.
    pub(super) fn leave(&self, panic: Option<Box<dyn Any + Send>>) {
        if panic.is_some() {
            drop(self.stop());
        }
        let mut state = lock(&self.state);
        state.devices -= 1;
        state.panic = state.panic.take().or(panic);
        self.changed.notify_all();
    }

    /// The oldest picture's tag and its result, once it is there; none after the last. Pending if that takes longer than
    /// `patience`.
    ///
    /// # Panics
    /// When the input or a device's thread panicked, in place of the results that this lost.
    pub(super) fn next(&self, patience: Duration) -> Poll<Option<(T, Result<R>)>> {
        let is_early = |state: &mut State<T, R>| match state.slots.front().map(|slot| &slot.stage) {
            Some(Stage::Done(_)) => false,
            Some(Stage::Ready(_) | Stage::Held) => state.devices > 0,
            Some(Stage::Working | Stage::Waiting) => true,
            None => !state.stopped && !state.has_ended(),
        };
        let waited = self.changed.wait_timeout_while(lock(&self.state), patience, is_early);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Poll::Pending;
        }
        let is_done = matches!(state.slots.front(), Some(Slot { stage: Stage::Done(_), .. }));
        if state.slots.is_empty() || (!is_done && state.fault.is_none()) {
            return Poll::Ready(state.panic.take().map(|panic| resume_unwind(panic)));
        }
        let Some(Slot { tag, stage, .. }) = state.slots.pop_front() else { return Poll::Ready(None) };
        state.first += 1;
        state.next = state.next.max(state.first);
        self.changed.notify_all();
        let result = match stage {
            Stage::Done(result) => result,
            _ => Err(state.lost()),
        };
        state.finished += usize::from(result.is_ok());
        Poll::Ready(tag.map(|tag| (tag, result)))
    }

    /// Stops pulling, decoding and taking. The rest of the input is returned for the caller to drop outside the lock,
    /// since it runs the user's code.
    pub(super) fn stop(&self) -> Option<Jobs<T>> {
        let mut state = lock(&self.state);
        state.stopped = true;
        self.changed.notify_all();
        state.input.take()
    }

    /// The thread that is inside the input's `next`.
    pub(super) fn pulling(&self) -> Option<ThreadId> {
        lock(&self.state).pulling
    }

    /// Waits while `is_so` holds.
    fn wait_while<'a>(&self, state: Guard<'a, T, R>, is_so: impl Fn(&State<T, R>) -> bool) -> Guard<'a, T, R> {
        self.changed.wait_while(state, |state| is_so(state)).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, with `shortly` at most [`PATIENCE`]; also returns whether that timed out.
    fn wait<'a>(&self, state: Guard<'a, T, R>, shortly: bool) -> (Guard<'a, T, R>, bool) {
        let patience = if shortly { PATIENCE } else { Duration::MAX };
        let (state, timeout) = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }
}
