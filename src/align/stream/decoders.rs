//! Threads that read and decode pictures and plan their views, within a budget of bytes, for devices that take them in
//! batches.
//!
//! ```text
//! input ── pulled by one thread at a time ──▶ slots, in the order of the input ──▶ batch ── released ──▶ result
//!                                              Working │ Waiting │ Ready        (held by a device)   (held by the consumer)
//! ```
//!
//! A picture is charged to the budget from the pull until its batch is released: with the bytes that the input holds, with
//! its encoded bytes once they are read, with both its forms while it is decoded, and then with its pixels and the tables of
//! its views. A thread pulls only while less than the budget is charged, and decodes only what fits; the first picture is
//! decoded even if it does not fit, once no batch is held. A batch takes no more than its share of the budget, so that
//! there is room to decode the next one meanwhile. The number of pictures is bounded from the pull until their results are
//! taken.
//!
//! No order of events deadlocks. All waits are for one condition variable, whose lock is never held while the input, a
//! decoder or a device runs. A working picture waits for nothing, and a device that holds a batch releases it without
//! waiting for others. One device at a time fills a batch. So let it wait for the next picture:
//! * It is *working*: it gets ready.
//! * It is *waiting* for room: a device that has pictures, in this batch or an earlier one, is told to go on with them and
//!   releases them. Then no batch is held, and the picture goes on.
//! * It is not pulled, because the budget is full: all that is charged is in batches, and the same holds.
//! * It is not pulled, because too many results are not taken: they are in front of it, and the consumer can take them.
//! * It is not pulled, because decoding is paused: only while a device computes.
//! * It is not pulled, because the input has not given it: a batch is not kept back for it longer than [`PATIENCE`].

use super::super::planned::Planned;
use super::input::{Input, size};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Picture, decoded_bytes, decoder_panicked, read_file};
use crate::lock::lock;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Of the bytes, those of a batch: with the picture that reaches it, it is full.
    pub(super) batch_bytes: usize,
    /// No picture is begun while a batch is computed.
    pub(super) alternate: bool,
}

/// A picture that was decoded, with its views, or why it was not.
pub(super) struct Decoded<T> {
    pub(super) tag: T,
    pub(super) picture: Result<(Picture, Planned)>,
}

/// Plans a picture's views.
pub(super) type Plan = Box<dyn Fn(&Picture) -> Result<Planned> + Send + Sync>;

/// Pictures that a device holds.
pub(super) struct Batch<T> {
    /// Counted from the first of the stream.
    pub(super) number: usize,
    pub(super) pictures: Vec<Decoded<T>>,
    /// How many they are until they are released.
    count: usize,
    charged: usize,
}

/// What [`Decoders::take`] gives.
pub(super) enum Next<T> {
    Batch(Batch<T>),
    /// Not before the batches that are held are released, or not soon.
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
    plan: Plan,
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
    /// Nothing more is taken.
    closed: bool,
    /// What the input panicked with.
    panic: Option<Box<dyn Any + Send>>,
    /// The pictures that are pulled and not taken.
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot's picture, counted from the first that was pulled.
    first: usize,
    /// A device fills a batch.
    filling: bool,
    /// How many batches were taken.
    batches: usize,
    /// How many pictures were taken and not released.
    held: usize,
    /// How many results have left.
    finished: usize,
    /// A device computes a batch, and shares the processors.
    paused: bool,
    /// What all pictures up to their release are charged with.
    charged: usize,
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
        let pictures = self.first + self.slots.len() - self.finished;
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
    /// Without threads yet.
    pub(super) fn new(input: Jobs<T>, options: DecodeOptions, plan: Plan, mut limits: Limits) -> Self {
        limits.threads = limits.threads.min(input.size_hint().1.unwrap_or(usize::MAX)).max(1);
        let (input, slots) = (Some(input), VecDeque::new());
        let state = State {
            input,
            pulling: None,
            ended: false,
            stopped: false,
            closed: false,
            panic: None,
            slots,
            first: 0,
            filling: false,
            batches: 0,
            held: 0,
            finished: 0,
            paused: false,
            charged: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), limits, options, plan });
        Self { threads: Vec::new(), shared }
    }

    /// Starts the threads, as many as there are to be had; false where there is none.
    pub(super) fn start(&mut self) -> bool {
        let start = |thread| {
            let shared = self.shared.clone();
            std::thread::Builder::new().spawn(move || shared.work(thread)).ok()
        };
        self.threads = (0..self.shared.limits.threads).map_while(start).collect();
        !self.threads.is_empty()
    }

    /// Ends before it has begun: the tag of the first picture.
    pub(super) fn refuse(&self) -> Option<T> {
        let first = lock(&self.shared.state).input.take().and_then(|mut input| input.next());
        self.close();
        first.map(|job| job.tag)
    }

    /// For a device's thread.
    pub(super) fn source(&self) -> Source<T> {
        Source(self.shared.clone())
    }
}

/// Where a device takes its batches from.
pub(super) struct Source<T>(Arc<Shared<T>>);

impl<T> Source<T> {
    /// The next pictures in order, up to `most`, for a device that has an earlier batch under way or not.
    pub(super) fn take(&self, most: usize, busy: bool) -> Next<T> {
        let Shared { state, limits, .. } = &*self.0;
        let (mut pictures, mut charged, mut deadline) = (Vec::new(), 0, None);
        let (mut state, mut late) = (lock(state), false);
        while state.filling && !state.closed {
            (state, late) = if busy { self.0.wait_a_little(state, &mut deadline) } else { (self.0.wait(state), false) };
            if late {
                return Next::Stalled;
            }
        }
        state.filling = true;
        while pictures.len() < most && charged < limits.batch_bytes && !late && !state.closed {
            let has_pictures = busy || !pictures.is_empty();
            match state.slots.front().map(|slot| &slot.stage) {
                Some(Stage::Ready(_)) => {
                    let slot = state.slots.pop_front().expect("there is a first one");
                    (state.first, state.held) = (state.first + 1, state.held + 1);
                    charged += slot.charged;
                    if let Stage::Ready(decoded) = slot.stage {
                        pictures.push(decoded);
                    }
                    deadline = None;
                }
                Some(Stage::Waiting) if has_pictures => break,
                None if state.ended || (has_pictures && !state.has_room(limits)) => break,
                None if has_pictures => (state, late) = self.0.wait_a_little(state, &mut deadline),
                _ => state = self.0.wait(state),
            }
        }
        state.filling = false;
        self.0.changed.notify_all();
        match pictures.is_empty() {
            true if state.closed || (state.ended && state.slots.is_empty()) => Next::End,
            true => Next::Stalled,
            false => {
                state.batches += 1;
                Next::Batch(Batch { number: state.batches - 1, count: pictures.len(), pictures, charged })
            }
        }
    }

    /// The pictures of a batch have left.
    pub(super) fn release(&self, Batch { pictures, count, charged, .. }: Batch<T>) {
        drop(pictures);
        let mut state = lock(&self.0.state);
        state.held -= count;
        state.charged -= charged;
        state.paused = false;
        self.0.changed.notify_all();
    }

    /// Until a batch is released, no other picture is begun if the limits say so.
    pub(super) fn pause(&self) {
        lock(&self.0.state).paused = self.0.limits.alternate;
    }

    /// Pulls no more, and decodes no more than is begun; what has been pulled can still be taken.
    pub(super) fn stop(&self) {
        self.0.stop();
    }
}

impl<T> Decoders<T> {
    /// A result has left.
    pub(super) fn finish(&self) {
        lock(&self.shared.state).finished += 1;
        self.shared.changed.notify_all();
    }

    /// What the input panicked with.
    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        lock(&self.shared.state).panic.take()
    }

    /// Pulls no more, and nothing more can be taken.
    pub(super) fn close(&self) {
        lock(&self.shared.state).closed = true;
        self.shared.stop();
    }
}

impl<T> Drop for Decoders<T> {
    fn drop(&mut self) {
        self.shared.stop();
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

    /// Waits for a change, but not beyond the deadline, which the first wait sets; and whether that has passed.
    fn wait_a_little<'a>(
        &self,
        state: MutexGuard<'a, State<T>>,
        deadline: &mut Option<Instant>,
    ) -> (MutexGuard<'a, State<T>>, bool) {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, true);
        }
        (self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0, false)
    }

    fn stop(&self) {
        let input = {
            let mut state = lock(&self.state);
            (state.ended, state.stopped) = (true, true);
            self.changed.notify_all();
            state.input.take()
        };
        drop(input); // not under the lock: it is not our code
    }

    fn work(&self, thread: usize) {
        while let Some((index, Job { mut tag, open, .. })) = self.pull(thread) {
            let decode = AssertUnwindSafe(|| {
                let picture = self.decode(index, open(&mut tag)?)?;
                let planned = (self.plan)(&picture)?;
                Ok((picture, planned))
            });
            let picture = catch_unwind(decode).unwrap_or_else(|_| Err(decoder_panicked()));
            let bytes = |(picture, planned): &(Picture, Planned)| size(picture) + planned.bytes();
            let mut state = lock(&self.state);
            state.charge(index, picture.as_ref().map_or(0, bytes));
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
            if others.saturating_add(bytes) <= self.limits.bytes || (index == state.first && state.held == 0) {
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

#[cfg(test)]
mod tests {
    use super::super::tests::planned;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Barrier, OnceLock};

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
        // Views are planned while a picture is charged in both its forms.
        let (charged, shared) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::<Source<usize>>::new()));
        let plan = {
            let (charged, shared) = (charged.clone(), shared.clone());
            Box::new(move |picture: &Picture| {
                if let Some(Source(shared)) = shared.get() {
                    charged.fetch_max(lock(&shared.state).charged, SeqCst);
                }
                Ok(planned(picture))
            })
        };
        let mut decoders = Decoders::new(Box::new((0..COUNT).map(job)), DecodeOptions::default(), plan, limits);
        assert!(decoders.start());
        let (source, mut tags) = (decoders.source(), Vec::new());
        let _ = shared.set(decoders.source());
        while let Next::Batch(mut taken) = source.take(batch, false) {
            charged.fetch_max(lock(&decoders.shared.state).charged, SeqCst);
            source.pause();
            in_flight.fetch_sub(held * taken.pictures.len(), SeqCst);
            for Decoded { tag, picture } in taken.pictures.drain(..) {
                picture.unwrap();
                tags.push(tag);
                decoders.finish();
            }
            source.release(taken);
        }
        assert!(tags.into_iter().eq(0..COUNT), "in order");
        assert_eq!(lock(&decoders.shared.state).charged, 0, "all is given back");
        (highest.load(SeqCst), charged.load(SeqCst))
    }

    /// Bytes of the tables of a picture's views.
    fn tables() -> usize {
        planned(&Picture::new(SIDE, SIDE, vec![0; PICTURE]).unwrap()).bytes()
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
        let limits = Limits { threads: 4, bytes, pictures: usize::MAX, batch_bytes: bytes, alternate: false };
        let meet = |tag| {
            if tag < 4 {
                ALL.wait();
            }
        };
        let (_, charged) = run(&input, limits, 7, meet);
        assert!(charged < bytes + PICTURE + 4 * (input.held() + tables()), "{charged} of {bytes}");
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
                    Limits {
                        threads,
                        bytes,
                        pictures: usize::MAX,
                        batch_bytes: (bytes / 3).max(1),
                        alternate: threads == 1,
                    },
                    batch,
                    |_| {},
                );
                let one = input.held();
                let what = format!("of {bytes}, {threads} threads, batches of {batch}");
                assert!(given < bytes + one, "{given} {what}");
                let decoded = if matches!(input, Input::Bytes(_)) { one + PICTURE } else { one };
                assert!(charged < bytes + decoded + one + threads * tables(), "{charged} {what}");
            }
        }
    }

    /// The first picture that does not fit is decoded, but not beside batches that devices hold.
    #[test]
    fn a_picture_that_does_not_fit_waits_for_held_batches() {
        let input = Input::Bytes(png());
        let held = input.held();
        let job = move |tag| {
            let input = input.clone();
            Job { tag, held, open: Box::new(|_: &mut usize| Ok(input)) }
        };
        let bytes = 2 * PICTURE + tables() + held - 1;
        let limits = Limits { threads: 2, bytes, pictures: usize::MAX, batch_bytes: bytes, alternate: false };
        let plan = Box::new(|picture: &Picture| Ok(planned(picture)));
        let mut decoders = Decoders::new(Box::new((0..COUNT).map(job)), DecodeOptions::default(), plan, limits);
        assert!(decoders.start());
        let source = decoders.source();
        let Next::Batch(first) = source.take(1, false) else { panic!("a batch") };
        let is_waiting = || {
            let state = lock(&decoders.shared.state);
            matches!(state.slots.front().map(|slot| &slot.stage), Some(Stage::Waiting))
        };
        loop {
            assert!(matches!(source.take(1, true), Next::Stalled), "nothing fits beside the first batch");
            if is_waiting() {
                break;
            }
        }
        source.release(first);
        let Next::Batch(second) = source.take(1, false) else { panic!("a batch") };
        assert_eq!(second.pictures[0].tag, 1);
    }

    /// What is in flight is bounded by the number of pictures as well, and a stream that ends drops its input.
    #[test]
    fn an_endless_input_is_not_read_ahead() {
        let given = Arc::new(AtomicUsize::new(0));
        let count = given.clone();
        let jobs = std::iter::repeat_with(move || {
            count.fetch_add(1, SeqCst);
            Job { tag: (), held: 0, open: Box::new(|()| Err(decoder_panicked())) }
        });
        let limits = Limits { threads: 3, bytes: 1, pictures: 5, batch_bytes: 1, alternate: true };
        let plan = Box::new(|picture: &Picture| Ok(planned(picture)));
        let mut decoders = Decoders::new(Box::new(jobs), DecodeOptions::default(), plan, limits);
        assert!(decoders.start());
        let source = decoders.source();
        // The second device waits until the first has released what it holds.
        let Next::Batch(batch) = source.take(9, false) else { panic!("a batch") };
        assert_eq!((batch.number, batch.pictures.len()), (0, 5));
        assert!(matches!(source.take(9, true), Next::Stalled));
        source.release(batch);
        assert!(matches!(source.take(9, true), Next::Stalled), "no result has left");
        assert_eq!(given.load(SeqCst), 5);
        decoders.finish();
        let Next::Batch(batch) = source.take(9, false) else { panic!("a batch") };
        assert_eq!((batch.number, batch.pictures.len(), given.load(SeqCst)), (1, 1, 6));
        decoders.close();
        assert!(matches!(source.take(9, true), Next::End));
        drop((source, decoders));
        assert_eq!((given.load(SeqCst), Arc::strong_count(&given)), (6, 1));
    }
}
