//! Threads that read and decode pictures, within a budget of bytes, for one consumer that takes them in order.
//!
//! ```text
//! input ── pulled by one thread at a time ──▶ slots, in the order of the input ──▶ batch ── released ──▶ results
//!                                              Working │ Waiting │ Ready            (held by the consumer)
//! ```
//!
//! A picture is charged to the budget from the pull until its batch is released: with the bytes that the input holds, with
//! its encoded bytes once they are read, with both its forms while it is decoded, and then with its pixels.
//! A thread pulls only while less than the budget is charged, and decodes only what fits; the oldest picture that is not
//! released is decoded even if it does not fit.
//!
//! No order of events deadlocks. All waits are for one condition variable, whose lock is never held while the input, a
//! decoder or the device runs. A working picture waits for nothing. So let the consumer wait for the next picture:
//! * It is *working*: it gets ready.
//! * It is *waiting* for room: with an empty batch it is the oldest, and goes on. Otherwise the consumer is told
//!   [`Next::Stalled`], computes its batch and releases it; then the batch is empty.
//! * It is not pulled, because the budget is full: all that is charged is in the batch, and the same holds.
//! * It is not pulled, because decoding is paused: only while the consumer computes.
//! * It is not pulled, because the input has not given it: a batch is not kept back for it longer than [`PATIENCE`].

use super::input::{Input, size};
use crate::error::{Error, PictureErrorKind, Result};
use crate::image::{DecodeOptions, Picture, decoded_bytes, read_file};
use crate::lock::lock;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a batch that could be larger waits for an input that gives nothing. An iterator over what is in memory
/// takes microseconds; one that waits for a network or for the results themselves may take for ever.
const PATIENCE: Duration = Duration::from_millis(5);

/// An input's picture.
pub(super) struct Job<T> {
    pub(super) tag: T,
    /// The bytes that it holds before it is opened.
    pub(super) held: usize,
    pub(super) open: Open<T>,
}

/// Finds the picture of a tag, in which it may note something.
pub(super) type Open<T> = Box<dyn FnOnce(&mut T) -> Result<Input> + Send>;

/// What bounds the pictures in flight.
pub(super) struct Limits {
    pub(super) threads: usize,
    pub(super) bytes: usize,
    pub(super) pictures: usize,
    /// No picture is begun while a batch is computed.
    pub(super) alternate: bool,
}

/// A picture that was decoded, or why it was not.
pub(super) struct Decoded<T> {
    pub(super) tag: T,
    pub(super) picture: Result<Picture>,
}

/// What [`Decoders::next`] gives.
pub(super) enum Next<T> {
    Picture(Decoded<T>),
    /// Not before the pictures that the consumer has are released, or not soon.
    Stalled,
    End,
}

/// The threads; dropping them stops and joins them, but for one that is inside the input's `next`: it ends after that.
pub(super) struct Decoders<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

type Jobs<T> = Box<dyn Iterator<Item = Job<T>> + Send>;

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limits: Limits,
    options: DecodeOptions,
}

struct State<T> {
    /// None while a thread pulls, and after the end.
    input: Option<Jobs<T>>,
    /// The number of the thread that pulls.
    pulling: Option<usize>,
    /// No more is pulled.
    ended: bool,
    /// What is pulled need not be decoded.
    stopped: bool,
    /// What the input panicked with.
    panic: Option<Box<dyn Any + Send>>,
    /// The pictures that are pulled and not taken.
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot's picture, counted from the first that was pulled.
    first: usize,
    /// The pictures before this one have left.
    released: usize,
    /// The consumer computes a batch, and shares the processors.
    paused: bool,
    /// What all pictures in flight are charged with.
    charged: usize,
    /// The part of it that is for pictures that were taken.
    taken: usize,
}

struct Slot<T> {
    charged: usize,
    stage: Stage<T>,
}

enum Stage<T> {
    Working,
    /// For room.
    Waiting,
    Ready(Decoded<T>),
}

impl<T> State<T> {
    fn has_room(&self, limits: &Limits) -> bool {
        let pictures = self.first + self.slots.len() - self.released;
        self.charged < limits.bytes && pictures < limits.pictures
    }

    fn slot(&mut self, index: usize) -> &mut Slot<T> {
        &mut self.slots[index - self.first]
    }

    fn charge(&mut self, index: usize, bytes: usize) {
        let before = std::mem::replace(&mut self.slot(index).charged, bytes);
        self.charged = self.charged - before + bytes;
    }
}

impl<T: Send + 'static> Decoders<T> {
    pub(super) fn start(input: Jobs<T>, options: DecodeOptions, limits: Limits) -> Self {
        let threads = limits.threads.min(input.size_hint().1.unwrap_or(usize::MAX)).max(1);
        let (input, slots) = (Some(input), VecDeque::new());
        let state = State {
            input,
            pulling: None,
            ended: false,
            stopped: false,
            panic: None,
            slots,
            first: 0,
            released: 0,
            paused: false,
            charged: 0,
            taken: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), limits, options });
        let start = |thread| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work(thread))
        };
        Self { threads: (0..threads).map(start).collect(), shared }
    }

    /// The next picture in order, for a consumer that has an empty batch or not.
    ///
    /// # Panics
    /// With what the input panicked with.
    pub(super) fn next(&self, empty: bool) -> Next<T> {
        let shared = &*self.shared;
        let mut deadline = None;
        let mut state = lock(&shared.state);
        if std::mem::take(&mut state.paused) {
            shared.changed.notify_all(); // a batch that panicked was not released
        }
        loop {
            match state.slots.front().map(|slot| &slot.stage) {
                Some(Stage::Ready(_)) => {
                    let slot = state.slots.pop_front().expect("there is a first one");
                    state.first += 1;
                    state.taken += slot.charged;
                    if let Stage::Ready(decoded) = slot.stage {
                        return Next::Picture(decoded);
                    }
                }
                Some(Stage::Waiting) if !empty => return Next::Stalled,
                None if state.ended => match state.panic.take_if(|_| empty) {
                    Some(panic) => {
                        drop(state);
                        resume_unwind(panic)
                    }
                    None => return Next::End,
                },
                None if !empty => {
                    let patience = deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                    let left = patience.saturating_duration_since(Instant::now());
                    if left.is_zero() || !state.has_room(&shared.limits) {
                        return Next::Stalled;
                    }
                    let woken = shared.changed.wait_timeout(state, left);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => state = shared.wait(state),
            }
        }
    }

    /// The pictures that were taken have left.
    pub(super) fn release(&self) {
        let mut state = lock(&self.shared.state);
        state.released = state.first;
        state.charged -= std::mem::take(&mut state.taken);
        state.paused = false;
        self.shared.changed.notify_all();
    }

    /// Until the batch is released, or the next picture asked for, no other is begun if the limits say so.
    pub(super) fn pause(&self) {
        lock(&self.shared.state).paused = self.shared.limits.alternate;
    }
}

impl<T> Decoders<T> {
    /// Pulls no more, and decodes no more than is begun; what has been pulled can still be taken.
    pub(super) fn stop(&self) {
        let input = {
            let mut state = lock(&self.shared.state);
            (state.ended, state.stopped) = (true, true);
            self.shared.changed.notify_all();
            state.input.take()
        };
        drop(input); // not under the lock: it is not our code
    }
}

impl<T> Drop for Decoders<T> {
    fn drop(&mut self) {
        self.stop();
        let pulling = lock(&self.shared.state).pulling;
        for (_, thread) in self.threads.drain(..).enumerate().filter(|&(number, _)| Some(number) != pulling) {
            // A decoder's panic is caught and told as its picture's error.
            let _ = thread.join();
        }
    }
}

impl<T> Shared<T> {
    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, thread: usize) {
        while let Some((index, Job { mut tag, open, .. })) = self.pull(thread) {
            let decode = AssertUnwindSafe(|| self.decode(index, open(&mut tag)?));
            let picture = catch_unwind(decode).unwrap_or_else(|_| Err(panicked()));
            let mut state = lock(&self.state);
            state.charge(index, picture.as_ref().map_or(0, size));
            state.slot(index).stage = Stage::Ready(Decoded { tag, picture });
            self.changed.notify_all();
        }
    }

    /// The input's next picture, with its number.
    fn pull(&self, thread: usize) -> Option<(usize, Job<T>)> {
        let mut state = lock(&self.state);
        let mut input = loop {
            if state.ended {
                return None;
            }
            if !state.paused
                && state.has_room(&self.limits)
                && let Some(input) = state.input.take()
            {
                break input;
            }
            state = self.wait(state);
        };
        state.pulling = Some(thread);
        drop(state);
        let next = catch_unwind(AssertUnwindSafe(|| input.next()));
        let mut state = lock(&self.state);
        state.pulling = None;
        self.changed.notify_all();
        match next {
            _ if state.ended => None, // stopped meanwhile
            Ok(Some(job)) => {
                state.input = Some(input);
                state.charged += job.held;
                state.slots.push_back(Slot { charged: job.held, stage: Stage::Working });
                Some((state.first + state.slots.len() - 1, job))
            }
            end => {
                state.ended = true;
                state.panic = end.err();
                None
            }
        }
    }

    fn decode(&self, index: usize, input: Input) -> Result<Picture> {
        let (bytes, path) = match input {
            Input::Picture(picture) => return Ok(picture),
            Input::Bytes(bytes) => (bytes, None),
            Input::File(path) => (read_file(&path, &self.options)?, Some(path)),
        };
        lock(&self.state).charge(index, bytes.len());
        self.make_room(index, bytes.len().saturating_add(decoded_bytes(&bytes, &self.options)))?;
        let picture = Picture::decode(&bytes, &self.options);
        match path {
            Some(path) => picture.map_err(|error| error.in_file(&path)),
            None => picture,
        }
    }

    /// Waits until the picture, charged with `bytes`, fits the budget or is the oldest, and charges it.
    fn make_room(&self, index: usize, bytes: usize) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return Err(Error::argument("picture", "a stream that was stopped", "one that goes on"));
            }
            let others = state.charged - state.slot(index).charged;
            if others.saturating_add(bytes) <= self.limits.bytes || index == state.released {
                break;
            }
            if matches!(std::mem::replace(&mut state.slot(index).stage, Stage::Waiting), Stage::Working) {
                self.changed.notify_all();
            }
            state = self.wait(state);
        }
        state.slot(index).stage = Stage::Working;
        state.charge(index, bytes);
        Ok(())
    }
}

fn panicked() -> Error {
    let (kind, found) = (PictureErrorKind::Damaged, "a picture that makes its decoder panic".into());
    Error::Picture { path: None, kind, found, expected: "one that can be decoded".into(), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const SIDE: u32 = 20;
    const PICTURE: usize = (SIDE * SIDE * 3) as usize;
    const COUNT: usize = 30;

    /// Takes pictures in batches of `batch`; `before` runs on the decoding threads. The most that was in flight at once: as
    /// the input counts it, and as it was charged.
    fn run(input: &Input, limits: Limits, batch: usize, before: fn(usize)) -> (usize, usize) {
        let (held, in_flight, highest) = (input.held(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let job = {
            let (input, in_flight, highest) = (input.clone(), in_flight.clone(), highest.clone());
            move |tag| {
                highest.fetch_max(in_flight.fetch_add(held, SeqCst) + held, SeqCst);
                let input = input.clone();
                let open = move |tag: &mut usize| {
                    before(*tag);
                    Ok(input)
                };
                Job { tag, held, open: Box::new(open) }
            }
        };
        let decoders = Decoders::start(Box::new((0..COUNT).map(job)), DecodeOptions::default(), limits);
        let (mut tags, mut charged) = (Vec::new(), 0);
        loop {
            let mut taken = 0;
            while taken < batch
                && let Next::Picture(decoded) = decoders.next(taken == 0)
            {
                charged = charged.max(lock(&decoders.shared.state).charged);
                decoded.picture.unwrap();
                tags.push(decoded.tag);
                taken += 1;
            }
            if taken == 0 {
                break;
            }
            decoders.pause();
            in_flight.fetch_sub(held * taken, SeqCst);
            decoders.release();
        }
        assert!(tags.into_iter().eq(0..COUNT), "in order");
        assert_eq!(lock(&decoders.shared.state).charged, 0, "all is given back");
        (highest.load(SeqCst), charged)
    }

    fn png() -> Vec<u8> {
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(SIDE, SIDE).write_to(&mut png, image::ImageFormat::Png).unwrap();
        png.into_inner()
    }

    /// Four threads that have a file each decode no more at once than fit.
    #[test]
    fn pictures_wait_for_room() {
        static ALL: Barrier = Barrier::new(4);
        let (bytes, input) = (2 * PICTURE, Input::Bytes(png()));
        let limits = Limits { threads: 4, bytes, pictures: usize::MAX, alternate: false };
        let meet = |tag| {
            if tag < 4 {
                ALL.wait();
            }
        };
        let (_, charged) = run(&input, limits, 7, meet);
        assert!(charged < bytes + PICTURE + 4 * input.held(), "{charged} of {bytes}");
    }

    #[test]
    fn bytes_in_flight_stay_within_the_budget() {
        let picture = Input::Picture(Picture::new(SIDE, SIDE, vec![0; PICTURE]).unwrap());
        for input in [picture, Input::Bytes(png())] {
            for (bytes, threads, batch) in [1, PICTURE - 1, 3 * PICTURE, 100 * PICTURE]
                .into_iter()
                .flat_map(|bytes| (1..=4).flat_map(move |threads| [1, 2, 7].map(|batch| (bytes, threads, batch))))
            {
                let (given, charged) = run(
                    &input,
                    Limits { threads, bytes, pictures: usize::MAX, alternate: threads == 1 },
                    batch,
                    |_| {},
                );
                let one = input.held();
                let what = format!("of {bytes}, {threads} threads, batches of {batch}");
                assert!(given < bytes + one, "{given} {what}");
                let decoded = if matches!(input, Input::Bytes(_)) { one + PICTURE } else { one };
                assert!(charged < bytes + decoded + one, "{charged} {what}");
            }
        }
    }

    /// What is in flight is bounded by the number of pictures as well, and a stream that ends drops its input.
    #[test]
    fn an_endless_input_is_not_read_ahead() {
        let given = Arc::new(AtomicUsize::new(0));
        let count = given.clone();
        let jobs = std::iter::repeat_with(move || {
            count.fetch_add(1, SeqCst);
            Job { tag: (), held: 0, open: Box::new(|()| Err(panicked())) }
        });
        let limits = Limits { threads: 3, bytes: 1, pictures: 5, alternate: true };
        let decoders = Decoders::start(Box::new(jobs), DecodeOptions::default(), limits);
        for _ in 0..5 {
            assert!(matches!(decoders.next(true), Next::Picture(_)));
        }
        assert!(matches!(decoders.next(false), Next::Stalled));
        assert_eq!(given.load(SeqCst), 5);
        drop(decoders);
        assert_eq!((given.load(SeqCst), Arc::strong_count(&given)), (5, 1));
    }
}
