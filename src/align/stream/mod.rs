//! Pictures in, results out in the same order: decoding threads, several pictures in a forward pass, a worker thread a
//! device.

mod decode;
mod devices;
mod input;
mod queue;
mod results;

use super::task::Task;
use crate::engine::Model;
use crate::error::Result;
use crate::image::DecodeOptions;
use crate::options::with_fields;
use queue::Queue;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

pub use input::Input;
use input::Job;
pub use results::Results;

/// Options of a [`Stream`].
///
/// ```
/// use crossalign::align::StreamOptions;
/// let options = StreamOptions::default().with_threads(4).with_bytes(256 << 20);
/// assert_eq!(options.batch, 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamOptions {
    /// How pictures are decoded.
    pub decode: DecodeOptions,
    /// Threads that read, decode and plan views; 0: as many as the machine runs at once. At most 4 times as many are
    /// started. Where the model is limited to some of the host's processors, decoding pauses while it computes, so that
    /// the others stay free.
    pub threads: usize,
    /// Bytes of pictures in flight, encoded and decoded, with the resampling tables of their views, from the input until the
    /// device has computed them. The host holds at most
    ///
    /// `bytes + one picture, both encoded and decoded + threads · (one file + one picture's tables)`
    ///
    /// with the largest of each: a picture larger than the budget goes through alone. A device holds copies of the
    /// pictures and tables of at most two of these batches, and the activations of one forward pass
    /// ([`ModelOptions::views_at_once`](crate::ModelOptions::views_at_once)).
    /// Several devices share the bytes: each batch gets a part of them.
    pub bytes: usize,
    /// Views that a device encodes together; 0: as many as it takes at once. A picture with more is a batch of its own.
    /// Results do not depend on it.
    pub batch: usize,
}

impl Default for StreamOptions {
    /// All threads, 1 GiB.
    fn default() -> Self {
        Self { decode: DecodeOptions::default(), threads: 0, bytes: 1 << 30, batch: 0 }
    }
}

with_fields!(StreamOptions:
    with_decode(decode: DecodeOptions),
    with_threads(threads: usize),
    with_bytes(bytes: usize),
    with_batch(batch: usize),
);

/// What a stream must know of the devices.
#[derive(Debug)]
pub struct Hardware {
    /// Of each device, the number of views that it takes at once.
    pub views: Vec<usize>,
    /// The host's processors compute: a batch is done when `submit` returns.
    pub is_host: bool,
    /// Some of the host's processors are to be left free: decoding pauses while a batch is computed.
    pub alternate: bool,
}

impl Hardware {
    pub(super) fn of(model: &Model) -> Self {
        let is_host = model.engine().facts().is_host;
        Self { views: model.views_at_once(), is_host, alternate: is_host && model.threads() < processors() }
    }
}

/// How many threads the machine runs at once.
fn processors() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// A task on a stream of pictures, which gives an `R` for each. One of its methods takes the pictures and starts it.
///
/// Their tags come back beside the results, in the order of the input. An error concerns its picture alone; a panic of
/// the decoder becomes an [`Error::Picture`](crate::Error::Picture). When a device fails, each picture in flight gets
/// its [`Error::Device`](crate::Error::Device), which tells how many pictures were finished before the first of them,
/// and the stream ends.
///
/// The decoding threads pull the inputs, one at a time and no more than the options' bytes and four batches a device
/// ahead (three where the host computes). So the input may be endless, or block, even until the result of an earlier
/// picture is taken. Each device has a worker thread, which takes batches as it has room for them, whether or not
/// results are asked for. Dropping the results early stops the threads and joins them, except one that is blocked in
/// the input.
///
/// If the system gives fewer threads, the stream runs on those; if it gives none, each picture gets an
/// [`Error::Device`](crate::Error::Device).
pub struct Stream<R> {
    task: Arc<dyn Task<R>>,
    decode: DecodeOptions,
    /// Threads that decode.
    threads: usize,
    /// The most bytes of pictures in flight.
    bytes: usize,
    /// A batch is full with the picture that reaches so many bytes.
    batch_bytes: usize,
    /// The most pictures from the pull until their results are taken.
    pictures: usize,
    /// Pictures that each device takes at once.
    batches: Vec<usize>,
    is_host: bool,
    alternate: bool,
}

impl<R> fmt::Debug for Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decode, threads, bytes, batches, .. } = self;
        let mut stream = f.debug_struct("Stream");
        stream.field("decode", decode).field("threads", threads).field("bytes", bytes).field("batches", batches);
        stream.finish_non_exhaustive()
    }
}

impl<R: Send + 'static> Stream<R> {
    /// A stream of pictures with `views` views each; public for tests, which stand in for devices.
    #[doc(hidden)]
    pub fn new(hardware: Hardware, options: StreamOptions, views: usize, task: impl Task<R> + 'static) -> Self {
        let StreamOptions { decode, threads, bytes, batch, .. } = options;
        let Hardware { views: at_once, is_host, alternate } = hardware;
        let pictures = |&at_once: &usize| ((if batch == 0 { at_once } else { batch }) / views).max(1);
        let batches: Vec<usize> = at_once.iter().map(pictures).collect();
        let threads = if threads == 0 { processors() } else { threads.min(4 * processors()) };
        // For each device: its batches in flight, one that is decoded meanwhile, one whose results are not yet taken.
        let (held, decoded) = (if is_host { 1 } else { 2 }, usize::from(!alternate));
        let all = batches.iter().fold(0, |all: usize, &batch| all.saturating_add(batch));
        let pictures = all.saturating_mul(held + decoded + 1).saturating_add(threads);
        let batch_bytes = (bytes / (batches.len() * held + decoded)).max(1);
        let (task, bytes) = (Arc::new(task), bytes.max(1));
        Self { task, decode, threads, bytes, batch_bytes, pictures, batches, is_host, alternate }
    }

    /// Streams files, with their paths as tags; errors name the path.
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

    /// Streams the pictures that `open` gives for the tags. It is called on the decoding threads: it may read files,
    /// and write what it learns into the tag. Its error is the picture's result.
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
        let threads = self.threads.min(jobs.size_hint().1.unwrap_or(usize::MAX)).max(1);
        Results::start(Queue::new(Self { threads, ..self }, Box::new(jobs)))
    }
}
