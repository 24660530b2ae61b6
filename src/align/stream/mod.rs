//! Pictures in, results out in the same order: decoding on threads, several pictures in a forward pass, a thread a device.

mod batch;
mod decoders;
mod devices;
mod input;

use super::classifier::{Classification, Classifier, Views};
use super::compile::Method;
use super::planned::{Planned, PlannedPicture, jobs};
use crate::backend::Pending;
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Picture};
use decoders::{Decoders, Job, Limits};
use devices::{Devices, Outcome};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use devices::Task;
pub use input::Input;

/// How pictures stream.
///
/// ```
/// use crossalign::align::StreamOptions;
/// let options = StreamOptions::default().with_threads(4).with_bytes(256 << 20);
/// assert_eq!(options.batch, 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamOptions {
    /// The local views of each picture.
    pub views: Views,
    /// How pictures are decoded.
    pub decode: DecodeOptions,
    /// Threads that read, decode and plan views; 0: as many as the machine runs at once. At most 4 times as many are
    /// started. Where the model runs on some of the host's processors only, they do not begin a picture while it computes,
    /// so that the others stay free.
    pub threads: usize,
    /// Bytes of pictures in flight, encoded and decoded, with the resampling tables of their views, from the input until the
    /// device has computed them. Held are at most
    ///
    /// `bytes + one picture, both encoded and decoded + threads · (one file + one picture's tables)`
    ///
    /// on the host, of the largest ones: a picture larger than all goes through alone. A device holds copies of two batches'
    /// pictures and tables, which are among them, and the activations of one forward pass
    /// ([`ModelOptions::views_at_once`](crate::ModelOptions::views_at_once)).
    /// Several devices share the bytes: each batch takes its part of them.
    pub bytes: usize,
    /// Views that a device encodes together; 0: as many as it takes at once. A picture with more is a batch of its own. No
    /// result depends on it.
    pub batch: usize,
}

impl Default for StreamOptions {
    /// Default views, all threads, 1 GiB.
    fn default() -> Self {
        Self { views: Views::default(), decode: DecodeOptions::default(), threads: 0, bytes: 1 << 30, batch: 0 }
    }
}

impl StreamOptions {
    /// With these views.
    pub fn with_views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// With pictures decoded so.
    pub fn with_decode(self, decode: DecodeOptions) -> Self {
        Self { decode, ..self }
    }

    /// With so many decoding threads.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// With so many bytes in flight.
    pub fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// With batches of so many views.
    pub fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }
}

impl Classifier {
    /// Classifies pictures as [`Classifier::classify_batch`] does, each with the bits that it has alone.
    ///
    /// ```
    /// use crossalign::{Model, Prompts};
    /// # let (folder, picture) = ("tests/golden/models/transformers", "tests/golden/pictures/landscape.png");
    /// let prompts = Prompts::from_json(r#"{"cat": ["whiskers"], "rocket": ["flames"]}"#, None)?;
    /// let classifier = Model::load(folder, &Default::default())?.compile(&prompts, &Default::default())?;
    /// for (path, result) in classifier.stream(Default::default()).files([picture, "nowhere.png"]) {
    ///     match result {
    ///         Ok(result) => println!("{}: {}", path.display(), result.predictions()[0].class),
    ///         Err(error) => println!("{error}"), // and on with the next picture
    ///     }
    /// }
    /// # Ok::<(), crossalign::Error>(())
    /// ```
    pub fn stream(&self, options: StreamOptions) -> Stream<Classification> {
        let local = if self.compiled().options.method == Method::Wca { options.views.count() } else { 0 };
        let task = Classify { classifier: self.clone(), views: options.views.clone() };
        Stream::new(Hardware::of(self.model()), options, 1 + local, Arc::new(task))
    }
}

struct Classify {
    classifier: Classifier,
    views: Views,
}

impl Task<Classification> for Classify {
    fn plan(&self, picture: &Picture) -> Result<Planned> {
        self.classifier.plan(picture, &self.views)
    }

    fn submit(&self, device: usize, pictures: &[PlannedPicture<'_>]) -> Result<Pending<'_, Vec<Classification>>> {
        self.classifier.submit(device, pictures)
    }
}

impl Model {
    /// Encodes pictures as [`Model::encode_views`] does: the result of each is `[1 + views, D]`, the global view first, as
    /// projected or of unit length with `normalize`. For the global view alone, take [`Views::Boxes`] without boxes.
    pub fn stream(&self, options: StreamOptions, normalize: bool) -> Stream<Embeddings> {
        let (views, count) = (options.views.clone(), 1 + options.views.count());
        let task = Encode { model: self.clone(), views, normalize };
        Stream::new(Hardware::of(self), options, count, Arc::new(task))
    }
}

struct Encode {
    model: Model,
    views: Views,
    normalize: bool,
}

impl Task<Embeddings> for Encode {
    fn plan(&self, picture: &Picture) -> Result<Planned> {
        Planned::new(&self.model, picture, self.views.boxes(picture)?)
    }

    fn submit(&self, device: usize, pictures: &[PlannedPicture<'_>]) -> Result<Pending<'_, Vec<Embeddings>>> {
        let (width, views) = (self.model.config().embed, 1 + self.views.count());
        Ok(self.model.engines()[device].encode_views(&jobs(pictures), self.normalize)?.map(move |rows| {
            let rows = rows.chunks_exact(views * width);
            rows.map(|rows| Embeddings { width, data: rows.to_vec() }).collect()
        }))
    }
}

/// What a stream must know of a model's devices.
pub(super) struct Hardware {
    /// Each takes so many views at once.
    views: Vec<usize>,
    /// They compute what they are given at once, on processors of the host.
    is_host: bool,
    /// Some of the host's processors are to be left free: decoding pauses while a batch is computed.
    alternate: bool,
}

impl Hardware {
    pub(super) fn of(model: &Model) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let is_host = model.engine().is_host();
        Self { views: model.views_at_once(), is_host, alternate: is_host && model.threads() < at_once }
    }
}

/// What is done to the pictures of a stream, of which each gets an `R`. The pictures are given to one of its methods.
///
/// Their tags come back beside the results, in the order of the input. An error is its picture's alone, a panic of its
/// decoder is an [`Error::Picture`]. Where a device fails, what is in flight gets that [`Error::Device`], which tells how
/// many pictures were finished before the first of them, and the stream ends.
///
/// The inputs are pulled by the decoding threads, one at a time and no more than the options' bytes and four batches a device
/// ahead (three where the host computes), so that they may be endless, or wait: for a result that a picture in front of them
/// gives, if need be. Each device has a thread, which takes batches as it has room for them, also before their results are
/// asked for. Dropping the results early stops the threads and waits for them, but not for an input that gives nothing.
pub struct Stream<R> {
    decode: DecodeOptions,
    limits: Limits,
    /// Pictures that each device takes at once.
    batches: Vec<usize>,
    is_host: bool,
    task: Arc<dyn Task<R>>,
}

impl<R: Send + 'static> Stream<R> {
    /// A stream of pictures with so many `views` each.
    pub(super) fn new(hardware: Hardware, options: StreamOptions, views: usize, task: Arc<dyn Task<R>>) -> Self {
        let StreamOptions { decode, threads, bytes, batch, .. } = options;
        let Hardware { views: at_once, is_host, alternate } = hardware;
        let pictures = |&at_once: &usize| ((if batch == 0 { at_once } else { batch }) / views).max(1);
        let batches: Vec<usize> = at_once.iter().map(pictures).collect();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { processors } else { threads.min(4 * processors) };
        // Of each device: batches that it has, one that is decoded meanwhile, one whose results are not taken.
        let (held, decoded) = (if is_host { 1 } else { 2 }, usize::from(!alternate));
        let all = batches.iter().fold(0, |all: usize, &batch| all.saturating_add(batch));
        let pictures = all.saturating_mul(held + decoded + 1).saturating_add(threads);
        let batch_bytes = (bytes / (batches.len() * held + decoded)).max(1);
        let limits = Limits { threads, bytes: bytes.max(1), pictures, batch_bytes, alternate };
        Self { decode, limits, batches, is_host, task }
    }

    /// Streams files, each with its path; an error names it.
    pub fn files<P: Into<PathBuf> + 'static>(
        self,
        paths: impl IntoIterator<Item = P, IntoIter: Send + 'static>,
    ) -> Results<PathBuf, R> {
        self.open(paths.into_iter().map(P::into), |path| Ok(Input::File(path.clone())))
    }

    /// Streams files, bytes or decoded pictures, each with a tag.
    pub fn pictures<T: Send + 'static, I: Into<Input>>(
        self,
        inputs: impl IntoIterator<Item = (T, I), IntoIter: Send + 'static>,
    ) -> Results<T, R> {
        self.start(inputs.into_iter().map(|(tag, input)| {
            let input = input.into();
            Job { tag, held: input.held(), open: Box::new(|_| Ok(input)) }
        }))
    }

    /// Streams pictures that `open` finds, which is called on the decoding threads: it may read, and note in the tag what
    /// it learns. The result of a picture that is not found is the error.
    pub fn open<T: Send + 'static>(
        self,
        tags: impl IntoIterator<Item = T, IntoIter: Send + 'static>,
        open: impl Fn(&mut T) -> Result<Input> + Send + Sync + 'static,
    ) -> Results<T, R> {
        let open = Arc::new(open);
        self.start(tags.into_iter().map(move |tag| {
            let open = open.clone();
            Job { tag, held: 0, open: Box::new(move |tag| open(tag)) }
        }))
    }

    fn start<T: Send + 'static>(self, jobs: impl Iterator<Item = Job<T>> + Send + 'static) -> Results<T, R> {
        let Self { decode, limits, batches, is_host, task } = self;
        let planner = task.clone();
        let plan = Box::new(move |picture: &Picture| planner.plan(picture));
        let mut decoders = Decoders::new(Box::new(jobs), decode, plan, limits);
        let devices = Devices::start(|| decoders.source(), &batches, is_host, &task);
        let refused = if devices.is_empty() || !decoders.start() { decoders.refuse() } else { None };
        let no_thread = |tag| (tag, Some(Err(Error::device("cpu", "the operating system gives no more threads"))));
        let batch = refused.map(no_thread).into_iter().collect::<Vec<_>>().into_iter();
        Results { decoders, devices, batch, batches: 0, finished: 0, fault: None }
    }
}

/// The results of a [`Stream`], in the order of its input.
///
/// # Panics
/// [`Results::next`] panics where the input or a device's thread did, after all results of what came before.
pub struct Results<T, R> {
    decoders: Decoders<T>,
    devices: Devices<T, R>,
    /// What is left of the batch whose results are given out.
    batch: std::vec::IntoIter<Outcome<T, R>>,
    /// Batches that were taken from the devices.
    batches: usize,
    /// Pictures that have got a result, before the first that was lost.
    finished: usize,
    /// The device that failed, and why; once a picture was lost by it.
    fault: Option<(String, String)>,
}

impl<T: Send + 'static, R: Send + 'static> Iterator for Results<T, R> {
    type Item = (T, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((tag, outcome)) = self.batch.next() {
                self.decoders.finish();
                let result = outcome.unwrap_or_else(|| Err(self.lost()));
                self.finished += usize::from(result.is_ok());
                return Some((tag, result));
            }
            match self.devices.take(self.batches) {
                Some(batch) => (self.batch, self.batches) = (batch.into_iter(), self.batches + 1),
                None => match self.devices.take_panic().or_else(|| self.decoders.take_panic()) {
                    Some(panic) => resume_unwind(panic),
                    None => return None,
                },
            }
        }
    }
}

impl<T: Send + 'static, R: Send + 'static> Results<T, R> {
    /// The error of a picture that was in flight when a device failed.
    fn lost(&mut self) -> Error {
        let (device, reason) = self.fault.get_or_insert_with(|| {
            let (device, reason) = self.devices.fault().expect("nothing is lost before a device has failed");
            (device, format!("{reason}; pictures finished before: {}", self.finished))
        });
        Error::device(&*device, &*reason)
    }
}

impl<T, R> Drop for Results<T, R> {
    fn drop(&mut self) {
        self.decoders.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Resize, plan_views};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    fn picture(number: u8) -> Picture {
        Picture::new(1, 1, vec![number; 3]).unwrap()
    }

    /// The picture alone, as views of one pixel.
    pub(super) fn planned(picture: &Picture) -> Planned {
        let plan = plan_views((picture.width(), picture.height()), &[], 1, Resize::Squash).unwrap();
        Planned { boxes: Vec::new(), plan }
    }

    /// Submits pictures, by their numbers, to a device.
    struct Numbers<F>(F);

    impl<F: Fn(usize, &[u8]) -> Result<Pending<'static, Vec<u8>>> + Send + Sync> Task<u8> for Numbers<F> {
        fn plan(&self, picture: &Picture) -> Result<Planned> {
            Ok(planned(picture))
        }

        fn submit(&self, device: usize, pictures: &[PlannedPicture<'_>]) -> Result<Pending<'_, Vec<u8>>> {
            let numbers: Vec<u8> = pictures.iter().map(|(picture, _)| picture.as_rgb().pixels()[0]).collect();
            (self.0)(device, &numbers)
        }
    }

    /// A stream that gives each picture's number, on so many devices, in batches of `batch`.
    fn numbers(
        devices: usize,
        batch: usize,
        submit: impl Fn(usize, &[u8]) -> Result<Pending<'static, Vec<u8>>> + Send + Sync + 'static,
    ) -> Stream<u8> {
        let options = StreamOptions::default().with_threads(3);
        let hardware = Hardware { views: vec![batch; devices], is_host: false, alternate: false };
        Stream::new(hardware, options, 1, Arc::new(Numbers(submit)))
    }

    /// All at once.
    fn ready(_: usize, numbers: &[u8]) -> Result<Pending<'static, Vec<u8>>> {
        Ok(Pending::ready(numbers.to_vec()))
    }

    /// While a batch is computed, the next one is submitted; and results come in order.
    #[test]
    fn a_batch_is_submitted_before_the_older_one_is_waited_for() {
        const COUNT: u8 = 8;
        let (decoded, events) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (all, log) = (decoded.clone(), events.clone());
        let submit = move |_, numbers: &[u8]| {
            while all.load(SeqCst) < usize::from(COUNT) {
                std::thread::yield_now();
            }
            let (log, numbers) = (log.clone(), numbers.to_vec());
            log.lock().unwrap().push(("submit", numbers[0]));
            Ok(Pending::new(move || {
                log.lock().unwrap().push(("wait", numbers[0]));
                Ok(numbers)
            }))
        };
        let open = move |tag: &mut u8| {
            decoded.fetch_add(1, SeqCst);
            Ok(Input::Picture(picture(*tag)))
        };
        let results: Vec<_> = numbers(1, 2, submit).open(0..COUNT, open).map(|(_, result)| result.unwrap()).collect();
        assert!(results.into_iter().eq(0..COUNT));
        let [submit, wait] = ["submit", "wait"].map(|event| move |number| (event, number));
        let expected = [submit(0), submit(2), wait(0), submit(4), wait(2), submit(6), wait(4), wait(6)];
        assert_eq!(*events.lock().unwrap(), expected);
    }

    /// However the decoding threads take turns, each device's batch is of pictures that follow each other.
    #[test]
    fn devices_fill_one_batch_after_the_other() {
        let open = |tag: &mut u8| {
            std::thread::sleep(Duration::from_micros(u64::from(*tag) * 37 % 500));
            Ok(Input::Picture(picture(*tag)))
        };
        let results: Vec<_> = numbers(3, 4, ready).open(0..100u8, open).map(|(tag, _)| tag).collect();
        assert!(results.into_iter().eq(0..100));
    }

    /// Devices take batches as they have room: one that stands still holds no other back, up to the limit of pictures.
    #[test]
    fn a_slow_device_takes_fewer_batches() {
        let done = Arc::new(AtomicUsize::new(0));
        let submit = move |device, numbers: &[u8]| {
            if device == 0 {
                while done.load(SeqCst) < 6 {
                    std::thread::yield_now();
                }
            } else {
                done.fetch_add(numbers.len(), SeqCst);
            }
            ready(device, numbers)
        };
        let pictures = (0..50u8).map(|i| (i, picture(i)));
        let results: Vec<_> = numbers(2, 1, submit).pictures(pictures).map(|(_, result)| result.unwrap()).collect();
        assert!(results.into_iter().eq(0..50));
    }

    #[test]
    fn a_panic_of_a_device_comes_behind_the_results_before_it() {
        let submit = |device, numbers: &[u8]| match numbers {
            [4, ..] => panic!("a device that panics"),
            _ => ready(device, numbers),
        };
        let mut results = numbers(1, 4, submit).pictures((0..200u8).map(|i| (i, picture(i))));
        let tags: Vec<u8> = results.by_ref().take(4).map(|(tag, _)| tag).collect();
        assert_eq!(tags, [0, 1, 2, 3]);
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
        assert_eq!(next.unwrap_err().downcast_ref(), Some(&"a device that panics"));
        assert!(results.next().is_none());
    }

    /// Be it when it is submitted to or when it is waited for, and whatever the other devices do meanwhile.
    #[test]
    fn a_device_that_fails_is_the_error_of_what_is_in_flight() {
        for (devices, late) in [(1, false), (1, true), (3, false), (3, true)] {
            let input = Arc::new(());
            let held = input.clone();
            let pictures = (0..200u8).map(move |i| {
                let _ = &held;
                let input = if i == 5 { Input::Bytes(vec![]) } else { Input::Picture(picture(i)) };
                (i, input)
            });
            let fail = move |device, numbers: &[u8]| match numbers.contains(&6) {
                true if late => Ok(Pending::new(|| Err(Error::device("cuda:0", "lost")))),
                true => Err(Error::device("cuda:0", "lost")),
                false => ready(device, numbers),
            };
            let results: Vec<_> = numbers(devices, 4, fail).pictures(pictures).collect();
            while Arc::strong_count(&input) > 1 {
                std::thread::yield_now(); // until the input's `next`, if a thread is in it, has returned
            }
            assert!(results.iter().map(|&(tag, _)| tag).eq(0..results.len() as u8), "in order");
            assert!((7..=6 + devices * 16 + 3).contains(&results.len()), "not to the end: {}", results.len());
            let lost = results.iter().position(|(_, result)| matches!(result, Err(Error::Device { .. }))).unwrap();
            let finished = results[..lost].iter().filter(|(_, result)| result.is_ok()).count();
            assert!(lost <= 6, "{lost}");
            for (tag, result) in results {
                match result {
                    Ok(number) => {
                        assert!(number == tag && (usize::from(tag) < lost || devices > 1 || late) && tag != 6)
                    }
                    Err(Error::Picture { .. }) => assert_eq!(tag, 5),
                    Err(error) => {
                        assert!(usize::from(tag) >= lost, "{tag}: {error}");
                        let expected = format!("device cuda:0: lost; pictures finished before: {finished}");
                        assert_eq!(error.to_string(), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_panic_of_a_decoder_is_its_pictures_error() {
        let open = |tag: &mut u8| match *tag {
            3 => panic!("a decoder that panics"),
            number => Ok(Input::Picture(picture(number))),
        };
        for (tag, result) in numbers(1, 4, ready).open(0..10u8, open) {
            match result {
                Ok(number) => assert!(number == tag && tag != 3),
                Err(error) => assert!(tag == 3 && error.to_string().contains("panic"), "{tag}: {error}"),
            }
        }
    }

    #[test]
    fn a_panic_of_the_input_comes_behind_the_results_before_it() {
        let pictures = (0..10u8).map(|i| if i == 7 { panic!("an input that panics") } else { (i, picture(i)) });
        let mut results = numbers(1, 4, ready).pictures(pictures);
        let tags: Vec<u8> = results.by_ref().take(7).map(|(tag, _)| tag).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4, 5, 6]);
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
        assert_eq!(next.unwrap_err().downcast_ref(), Some(&"an input that panics"));
        assert!(results.next().is_none());
    }
}
