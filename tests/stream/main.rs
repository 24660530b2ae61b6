//! Streams: order, bits and errors, against one picture at a time, on every backend.

#[path = "../common/mod.rs"]
mod common;

mod budget;
mod devices;
mod played;

use common::Reference;
use crossalign::align::{CompileOptions, Input, Method, StreamOptions, Views};
use crossalign::image::ViewSampling;
use crossalign::{Classifier, Model, ModelOptions, Picture};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

/// What the input gives.
#[derive(Clone, Copy, Debug)]
enum Kind {
    File(usize),
    Bytes(usize),
    Decoded(usize),
    /// A file that is not there.
    Missing,
    /// The first half of a file.
    Cut,
    NoPicture,
    /// Decoded, and longer than a side may be.
    Tall,
}

const PICTURES: [&str; 3] = ["landscape", "portrait", "tiny"];

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (0..3usize).prop_map(Kind::File),
        (0..3usize).prop_map(Kind::Bytes),
        (0..3usize).prop_map(Kind::Decoded),
        Just(Kind::Missing),
        Just(Kind::Cut),
        Just(Kind::NoPicture),
        Just(Kind::Tall),
    ]
}

impl Kind {
    fn input(self) -> Input {
        let path = |i: usize| Reference::golden().picture_path(PICTURES[i]);
        let bytes = |i| std::fs::read(path(i)).unwrap();
        match self {
            Self::File(i) => path(i).into(),
            Self::Bytes(i) => bytes(i).into(),
            Self::Decoded(i) => Reference::golden().picture(PICTURES[i]).into(),
            Self::Missing => Input::File("nowhere.png".into()),
            Self::Cut => bytes(0)[..bytes(0).len() / 2].to_vec().into(),
            Self::NoPicture => b"not a picture".to_vec().into(),
            Self::Tall => Picture::new(1, 1_100_000, vec![0; 3_300_000]).unwrap().into(),
        }
    }

    /// What its error says.
    fn words(self) -> &'static str {
        match self {
            Self::Missing => "nowhere.png",
            Self::Cut => "picture: found",
            Self::NoPicture => "picture: found",
            Self::Tall => "1100000",
            Self::File(_) | Self::Bytes(_) | Self::Decoded(_) => panic!("{self:?} failed"),
        }
    }
}

/// A stream and its input.
#[derive(Clone, Debug)]
struct Case {
    wca: bool,
    /// Each picture, and the microseconds that the input takes for it.
    input: Vec<(Kind, u64)>,
    threads: usize,
    bytes: usize,
    batch: usize,
    /// How many results are taken.
    taken: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let input = prop::collection::vec((kinds(), prop_oneof![Just(0), 0..3000u64]), 0..14);
    let bytes = prop_oneof![Just(1), Just(20_000), Just(100_000), Just(1 << 30)];
    let taken = prop_oneof![Just(usize::MAX), 0..10usize];
    (any::<bool>(), input, 1..=4usize, bytes, 0..=21usize, taken)
        .prop_map(|(wca, input, threads, bytes, batch, taken)| Case { wca, input, threads, bytes, batch, taken })
}

/// Classifiers of both kinds on a device, and what each picture scores alone.
struct Fixture {
    classifiers: [Classifier; 2],
    alone: [Vec<(Vec<f32>, Vec<f32>)>; 2],
}

fn views() -> Views {
    Views::Sampled(ViewSampling { count: 3, ..Default::default() })
}

impl Fixture {
    /// Views are encoded so many at once, but for the pictures alone.
    fn new(device: &str, views_at_once: usize) -> Self {
        let reference = Reference::golden();
        let classifiers = |views_at_once| {
            let options = ModelOptions::default()
                .with_device(device.parse().unwrap())
                .with_threads(2)
                .with_views_at_once(views_at_once);
            let model = Model::load(reference.root.join("models/transformers"), &options).unwrap();
            let compile = |method| {
                let options = CompileOptions::default().with_method(method);
                model.compile(&reference.prompts(), &options).unwrap().with_views(views())
            };
            [compile(Method::Cupl), compile(Method::Wca)]
        };
        let alone = classifiers(0).each_ref().map(|classifier| {
            let alone = |name: &&str| {
                let results = classifier.classify_batch(&[&reference.picture(name)]).unwrap();
                bits(&results[0])
            };
            PICTURES.iter().map(alone).collect()
        });
        Self { classifiers: classifiers(views_at_once), alone }
    }

    /// Streams this many random inputs.
    fn check_all(&self, count: u32) {
        let config = Config { cases: count, failure_persistence: None, ..Config::default() };
        TestRunner::new(config)
            .run(&cases(), |case| {
                self.check(&case);
                Ok(())
            })
            .unwrap();
    }

    /// Streams an input and compares each result.
    fn check(&self, case: &Case) {
        let Case { wca, threads, bytes, batch, taken, .. } = *case;
        let options = StreamOptions::default().with_threads(threads);
        let stream = self.classifiers[usize::from(wca)].stream(options.with_bytes(bytes).with_batch(batch));
        let dropped = Arc::new(());
        let (held, input) = (dropped.clone(), case.input.clone());
        let input = input.into_iter().enumerate().map(move |(i, (kind, delay))| {
            let _ = &held;
            std::thread::sleep(Duration::from_micros(delay));
            ((i, kind), kind.input())
        });
        let mut count = 0;
        for ((i, kind), result) in stream.pictures(input).take(taken) {
            assert_eq!(i, count, "in order");
            count += 1;
            match result {
                Ok(result) => match kind {
                    Kind::File(i) | Kind::Bytes(i) | Kind::Decoded(i) => {
                        assert!(bits(&result) == self.alone[usize::from(wca)][i], "{kind:?} has other bits");
                    }
                    _ => panic!("{kind:?} has a result"),
                },
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(kind.words()), "{kind:?}: {error}");
                }
            }
        }
        assert_eq!(count, case.input.len().min(taken));
        is_dropped(&dropped);
    }
}

/// Waits until the input that holds the other clone is dropped: at once, or when its `next` returns.
fn is_dropped<T>(held: &Arc<T>) {
    while Arc::strong_count(held) > 1 {
        std::thread::yield_now();
    }
}

/// Scores and weights.
fn bits(result: &crossalign::Classification) -> (Vec<f32>, Vec<f32>) {
    (result.scores().to_vec(), result.views().iter().map(|view| view.weight).collect())
}

#[test]
fn results_are_those_of_one_picture_at_a_time() {
    Fixture::new("cpu", 0).check_all(48);
    Fixture::new("cpu", 3).check_all(48);
}

#[test]
fn results_are_those_of_one_picture_at_a_time_on_the_reference() {
    Fixture::new("reference", 3).check_all(4);
}

#[cfg(feature = "wgpu")]
#[machine::has(vulkan)]
#[test]
fn results_are_those_of_one_picture_at_a_time_on_wgpu() {
    Fixture::new("wgpu:0", 0).check_all(8);
    Fixture::new("wgpu:0", 3).check_all(8);
}

#[cfg(feature = "cuda")]
#[machine::has(gxx)]
#[test]
fn results_are_those_of_one_picture_at_a_time_on_cuda() {
    let Ok(devices) = std::env::var("SIMT_DEVICES") else {
        for devices in ["1", "2", "3"] {
            let test = "results_are_those_of_one_picture_at_a_time_on_cuda";
            common::cuda::run_with(test, &[("SIMT_DEVICES", devices)]);
        }
        return;
    };
    for views_at_once in [0, 3] {
        let fixture = Fixture::new("cuda:all", views_at_once);
        assert_eq!(fixture.classifiers[0].model().devices().to_string(), devices);
        fixture.check_all(8);
    }
}

/// A result does not wait for pictures that the input has not given yet, be it asked for them by the results themselves;
/// and a stream can be dropped while its input waits.
#[test]
fn an_input_may_wait_for_results() {
    let fixture = Fixture::new("cpu", 0);
    for threads in 1..=3 {
        let (more, input) = mpsc::channel();
        let stream = fixture.classifiers[0].stream(StreamOptions::default().with_threads(threads));
        let send = |i: usize| more.send((i, Kind::Bytes(i % 3).input())).unwrap();
        send(0);
        let mut results = stream.pictures(input);
        for i in 0..6 {
            let (tag, result) = results.next().unwrap();
            assert!(tag == i && result.is_ok(), "{tag}: {result:?}");
            send(i + 1);
        }
        drop(results);
        drop(more);
    }
}

/// An endless input is asked for no more than two batches and one picture a thread ahead, and dropped at the end.
#[test]
fn an_endless_input_is_pulled() {
    let fixture = Fixture::new("cpu", 0);
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let input = std::iter::repeat_with(move || ((), Kind::Bytes(count.fetch_add(1, SeqCst) % 3).input()));
    let options = StreamOptions::default().with_threads(2).with_batch(4);
    let mut results = fixture.classifiers[0].stream(options).pictures(input);
    for taken in 1..=20 {
        assert!(results.next().unwrap().1.is_ok());
        let ahead = given.load(SeqCst) - taken;
        assert!(ahead <= 4 + 2 * 4 + 2, "{ahead} ahead of {taken}");
    }
    drop(results);
    is_dropped(&given);
}

#[test]
fn files_name_their_errors_and_embeddings_stream() {
    let reference = Reference::golden();
    let options = ModelOptions::default().with_device("cpu".parse().unwrap());
    let model = Model::load(reference.root.join("models/transformers"), &options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.png");
    std::fs::write(&damaged, b"\x89PNG\r\n\x1a\n").unwrap();
    let good = reference.picture_path("landscape");
    let paths = [good.clone(), damaged.clone(), good.clone()];
    let stream = model.stream(Views::Boxes(vec![]), true, StreamOptions::default().with_batch(2));
    let results: Vec<_> = stream.files(paths.clone()).collect();
    assert!(results.iter().map(|(path, _)| path).eq(&paths));
    let [first, second, third] = [0, 1, 2].map(|i| results[i].1.as_ref());
    assert!(second.unwrap_err().to_string().starts_with(damaged.to_str().unwrap()));
    let (first, third) = (first.unwrap(), third.unwrap());
    assert_eq!(first, third);
    assert_eq!((first.len(), first.width), (1, model.config().embed));
}

#[test]
fn models_are_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>(value: T) -> T {
        value
    }
    shared::<Model>();
    shared::<Classifier>();
    let fixture = Fixture::new("cpu", 0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let input = (0..30).map(|i| (i % 3, Kind::Bytes(i % 3).input()));
                let stream = fixture.classifiers[1].stream(StreamOptions::default().with_batch(7));
                for (i, result) in sent(stream.pictures(input)) {
                    assert!(bits(&result.unwrap()) == fixture.alone[1][i]);
                }
            });
        }
    });
}

#[test]
fn options_are_set_one_by_one() {
    let decode = crossalign::DecodeOptions::default().with_max_pixels(7).with_exif_rotation(false);
    let options = StreamOptions::default().with_decode(decode).with_threads(2).with_bytes(3).with_batch(4);
    assert_eq!((options.threads, options.bytes, options.batch), (2, 3, 4));
    assert_eq!((options.decode.max_pixels, options.decode.exif_rotation), (7, false));
    let other = StreamOptions::default().with_batch(4).with_bytes(3).with_threads(2).with_decode(decode);
    assert_eq!(format!("{other:?}"), format!("{options:?}"));
}
