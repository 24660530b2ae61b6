//! Pictures in, results out in the same order: decoding on threads, several pictures in a forward pass.

mod batch;
mod decoders;
mod input;

use super::classifier::{Classification, Classifier, Views};
use super::compile::Method;
use crate::engine::{Embeddings, Model};
use crate::error::{Error, Result};
use crate::image::{DecodeOptions, Picture};
use crate::model::ViewJob;
use decoders::{Decoded, Decoders, Job, Limits, Next};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Threads that read and decode; 0: as many as the machine runs at once. At most 4 times as many are started. Where
    /// the model runs on some of the host's processors only, they do not begin a picture while it computes, so that the
    /// others stay free.
    pub threads: usize,
    /// Bytes of pictures in flight, encoded and decoded, from the input to the results. At most this and one picture, both
    /// encoded and decoded, are held, and the bytes of a file for each thread: a picture larger than all goes through alone.
    pub bytes: usize,
    /// Views that are encoded together, over all devices; 0: as many as the devices take at once
    /// ([`Model::preferred_views`]). A picture with more is a batch of its own. No result depends on it.
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
    pub fn stream(&self, options: StreamOptions) -> Stream<'_, Classification<'_>> {
        let local = if self.compiled().options.method == Method::Wca { options.views.count() } else { 0 };
        let views = options.views.clone();
        Stream::new(Devices::of(self.model()), options, 1 + local, move |pictures| {
            self.classify_batch(pictures, &views)
        })
    }
}

impl Model {
    /// Encodes pictures as [`Model::encode_views`] does: the result of each is `[1 + views, D]`, the global view first, as
    /// projected or of unit length with `normalize`. For the global view alone, take [`Views::Boxes`] without boxes.
    pub fn stream(&self, options: StreamOptions, normalize: bool) -> Stream<'_, Embeddings> {
        let views = options.views.clone();
        Stream::new(Devices::of(self), options, 1 + views.count(), move |pictures| {
            let plan = |picture: &&Picture| {
                let size = (picture.width(), picture.height());
                self.config().plan_views(size, &views.boxes(picture)?)
            };
            let plans = pictures.iter().map(plan).collect::<Result<Vec<_>>>()?;
            let job = |(picture, plan)| ViewJob { picture: Picture::as_rgb(picture), plan };
            let jobs: Vec<ViewJob<'_>> = pictures.iter().copied().zip(&plans).map(job).collect();
            let Embeddings { width, data } = self.encode_views(&jobs, normalize)?;
            let rows = data.chunks_exact((1 + views.count()) * width);
            Ok(rows.map(|rows| Embeddings { width, data: rows.to_vec() }).collect())
        })
    }
}

/// What a stream must know of a model's devices.
pub(super) struct Devices {
    /// They take so many views at once.
    views: usize,
    /// They are processors of the host, of which some are to be left free: decoding pauses while a batch is computed.
    alternate: bool,
}

impl Devices {
    pub(super) fn of(model: &Model) -> Self {
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        Self { views: model.preferred_views(), alternate: model.engine().is_host() && model.threads() < at_once }
    }
}

/// Results of pictures together, in order.
type Together<'a, R> = Box<dyn Fn(&[&Picture]) -> Result<Vec<R>> + Send + 'a>;

/// What is done to the pictures of a stream, of which each gets an `R`. The pictures are given to one of its methods.
///
/// Their tags come back beside the results, in the order of the input. An error is its picture's alone, a panic of its
/// decoder is an [`Error::Picture`]. Where a device fails, what is in flight gets that [`Error::Device`], which tells how
/// many pictures were finished, and the stream ends.
///
/// The inputs are pulled by the decoding threads, one at a time and no more than the options' bytes and two batches ahead,
/// so that they may be endless, or wait: for a result that a picture in front of them gives, if need be.
/// The forward passes run on the thread that takes the results, while the next pictures are decoded. Dropping the results
/// early stops the threads and waits for them, but not for an input that gives nothing.
pub struct Stream<'a, R> {
    decode: DecodeOptions,
    limits: Limits,
    /// Pictures of a batch.
    batch: usize,
    together: Together<'a, R>,
}

impl<'a, R> Stream<'a, R> {
    /// A stream of pictures with so many `views` each.
    pub(super) fn new(
        devices: Devices,
        options: StreamOptions,
        views: usize,
        together: impl Fn(&[&Picture]) -> Result<Vec<R>> + Send + 'a,
    ) -> Self {
        let StreamOptions { decode, threads, bytes, batch, .. } = options;
        let batch = if batch == 0 { devices.views } else { batch };
        let batch = (batch / views).max(1);
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { at_once } else { threads.min(4 * at_once) };
        let Devices { alternate, .. } = devices;
        // While one batch is computed, the next is decoded.
        let ahead = if alternate { batch } else { batch.saturating_mul(2) };
        let limits = Limits { threads, bytes: bytes.max(1), pictures: ahead.saturating_add(threads), alternate };
        Self { decode, limits, batch, together: Box::new(together) }
    }

    /// Streams files, each with its path; an error names it.
    pub fn files<P: Into<PathBuf> + 'static>(
        self,
        paths: impl IntoIterator<Item = P, IntoIter: Send + 'static>,
    ) -> Results<'a, PathBuf, R> {
        self.open(paths.into_iter().map(P::into), |path| Ok(Input::File(path.clone())))
    }

    /// Streams files, bytes or decoded pictures, each with a tag.
    pub fn pictures<T: Send + 'static, I: Into<Input>>(
        self,
        inputs: impl IntoIterator<Item = (T, I), IntoIter: Send + 'static>,
    ) -> Results<'a, T, R> {
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
    ) -> Results<'a, T, R> {
        let open = Arc::new(open);
        self.start(tags.into_iter().map(move |tag| {
            let open = open.clone();
            Job { tag, held: 0, open: Box::new(move |tag| open(tag)) }
        }))
    }

    fn start<T: Send + 'static>(self, jobs: impl Iterator<Item = Job<T>> + Send + 'static) -> Results<'a, T, R> {
        let Self { decode, limits, batch, together } = self;
        let decoders = Decoders::start(Box::new(jobs), decode, limits);
        Results { decoders, batch, together, finished: VecDeque::new(), count: 0, fault: None }
    }
}

/// The results of a [`Stream`], in the order of its input.
///
/// # Panics
/// [`Results::next`] panics where the input did, after all results of what it gave before.
pub struct Results<'a, T, R> {
    decoders: Decoders<T>,
    batch: usize,
    together: Together<'a, R>,
    /// What is computed and not taken.
    finished: VecDeque<(T, Result<R>)>,
    /// How many pictures the device has finished.
    count: usize,
    /// The device and why it failed.
    fault: Option<(String, String)>,
}

impl<T: Send + 'static, R> Iterator for Results<'_, T, R> {
    type Item = (T, Result<R>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished.is_empty() {
            let batch = self.next_batch();
            self.run(batch);
        }
        self.finished.pop_front()
    }
}

impl<T: Send + 'static, R> Results<'_, T, R> {
    /// The next pictures, as many as a batch has, or as there are.
    fn next_batch(&self) -> Vec<Decoded<T>> {
        let mut batch = Vec::new();
        while batch.len() < self.batch
            && let Next::Picture(decoded) = self.decoders.next(batch.is_empty())
        {
            batch.push(decoded);
        }
        batch
    }

    /// Computes a batch and releases it.
    fn run(&mut self, batch: Vec<Decoded<T>>) {
        let (lost, mut results) = (self.fault.is_some(), Vec::new());
        if !lost {
            let pictures: Vec<&Picture> = batch.iter().filter_map(|decoded| decoded.picture.as_ref().ok()).collect();
            self.decoders.pause();
            let end = batch::run(&pictures, &self.together, &mut results);
            self.count += results.len();
            if let Err(Error::Device { device, reason }) = end {
                self.decoders.stop();
                self.fault = Some((device, format!("{reason}; pictures finished before: {}", self.count)));
            }
        }
        let mut results = results.into_iter();
        let fault = |(device, reason): &(String, String)| Err(Error::device(device, reason));
        for Decoded { tag, picture } in batch {
            // A picture without a result was in flight when the device failed.
            let result = match picture {
                Err(error) if !lost => Err(error),
                _ => results.next().or_else(|| self.fault.as_ref().map(fault)).expect("a result or a fault"),
            };
            self.finished.push_back((tag, result));
        }
        self.decoders.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(number: u8) -> Picture {
        Picture::new(1, 1, vec![number; 3]).unwrap()
    }

    /// A stream that gives each picture's number, in batches of `batch`.
    fn numbers(batch: usize, fail: impl Fn(u8) -> Result<()> + Send + 'static) -> Stream<'static, u8> {
        let number = move |picture: &&Picture| {
            let number = picture.as_rgb().pixels()[0];
            fail(number).map(|()| number)
        };
        let options = StreamOptions::default().with_threads(3);
        let devices = Devices { views: batch, alternate: false };
        Stream::new(devices, options, 1, move |pictures| pictures.iter().map(&number).collect())
    }

    #[test]
    fn a_device_that_fails_is_the_error_of_what_is_in_flight() {
        let input = Arc::new(());
        let held = input.clone();
        let pictures = (0..200u8).map(move |i| {
            let _ = &held;
            let input = if i == 5 { Input::Bytes(vec![]) } else { Input::Picture(picture(i)) };
            (i, input)
        });
        let fail = |number| if number >= 6 { Err(Error::device("cuda:0", "lost")) } else { Ok(()) };
        let results: Vec<_> = numbers(4, fail).pictures(pictures).collect();
        while Arc::strong_count(&input) > 1 {
            std::thread::yield_now(); // until the input's `next`, if a thread is in it, has returned
        }
        assert!(results.iter().map(|&(tag, _)| tag).eq(0..results.len() as u8), "in order");
        assert!((7..=6 + 11).contains(&results.len()), "two batches and one a thread at most: {}", results.len());
        let finished = results.iter().filter(|(_, result)| result.is_ok()).count();
        let lost = results.iter().position(|(_, result)| matches!(result, Err(Error::Device { .. }))).unwrap();
        for (tag, result) in results {
            match result {
                Ok(number) => assert!(number == tag && usize::from(tag) < lost && tag != 5),
                Err(Error::Picture { .. }) => assert_eq!(tag, 5),
                Err(error) => {
                    assert!(usize::from(tag) >= lost, "{tag}: {error}");
                    assert_eq!(error.to_string(), format!("device cuda:0: lost; pictures finished before: {finished}"));
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
        for (tag, result) in numbers(4, |_| Ok(())).open(0..10u8, open) {
            match result {
                Ok(number) => assert!(number == tag && tag != 3),
                Err(error) => assert!(tag == 3 && error.to_string().contains("panic"), "{tag}: {error}"),
            }
        }
    }

    #[test]
    fn a_panic_of_the_input_comes_behind_the_results_before_it() {
        let pictures = (0..10u8).map(|i| if i == 7 { panic!("an input that panics") } else { (i, picture(i)) });
        let mut results = numbers(4, |_| Ok(())).pictures(pictures);
        let tags: Vec<u8> = results.by_ref().take(7).map(|(tag, _)| tag).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4, 5, 6]);
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
        assert_eq!(next.unwrap_err().downcast_ref(), Some(&"an input that panics"));
        assert!(results.next().is_none());
    }
}
