//! What a stream holds at once.

use super::is_dropped;
use super::played::{Played, numbered, numbers, ready};
use crossalign::Error;
use crossalign::align::{Hardware, Input, Stream, StreamOptions};
use crossalign::backend::Pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

const SIDE: u32 = 20;
const PICTURE: usize = (SIDE * SIDE * 3) as usize;
const COUNT: u8 = 30;

/// How many pictures there are, and the most that there were.
#[derive(Default)]
struct Count {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Count {
    fn add(&self) {
        self.most.fetch_max(1 + self.now.fetch_add(1, SeqCst), SeqCst);
    }
}

/// Pictures that the input has given, and those that are decoded; up to when the device has computed them, shortly before
/// the stream gives their bytes back.
#[derive(Clone, Default)]
struct InFlight {
    given: Arc<Count>,
    decoded: Arc<Count>,
}

impl InFlight {
    /// A stream on one device, with so many threads. Planning takes its time, so that pictures meet.
    fn stream(&self, threads: usize, bytes: usize, batch: usize, planning: Duration) -> Stream<u8> {
        let (decoded, all) = (self.decoded.clone(), self.clone());
        let plan = move || {
            decoded.add();
            std::thread::sleep(planning);
        };
        let submit = move |_, numbers: &[u8]| {
            let (all, numbers) = (all.clone(), numbers.to_vec());
            Ok(Pending::new(move || {
                all.given.now.fetch_sub(numbers.len(), SeqCst);
                all.decoded.now.fetch_sub(numbers.len(), SeqCst);
                Ok(numbers)
            }))
        };
        let hardware = Hardware { views: vec![batch], is_host: false, alternate: threads == 1 };
        let options = StreamOptions::default().with_threads(threads).with_bytes(bytes);
        Stream::new(hardware, options, 1, Played { plan, submit })
    }
}

fn png(number: u8) -> Vec<u8> {
    let picture = image::RgbImage::from_raw(SIDE, SIDE, vec![number; PICTURE]).unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// The picture of a number.
type Numbered = fn(u8) -> Input;

#[test]
fn bytes_in_flight_stay_within_the_budget() {
    let decoded = |number| Input::Picture(numbered(number, SIDE));
    let encoded = |number| Input::Bytes(png(number));
    let inputs: [(Numbered, usize); 2] =
        [(decoded, PICTURE), (encoded, (0..COUNT).map(|i| png(i).len()).min().unwrap())];
    for (input, held) in inputs {
        for bytes in [1, PICTURE - 1, 3 * PICTURE, 100 * PICTURE] {
            for (threads, batch) in (1..=4).flat_map(|threads| [1, 2, 7].map(|batch| (threads, batch))) {
                let in_flight = InFlight::default();
                let given = in_flight.given.clone();
                let pictures = (0..COUNT).map(move |number| {
                    given.add();
                    (number, input(number))
                });
                let stream = in_flight.stream(threads, bytes, batch, Duration::ZERO);
                let results = stream.pictures(pictures).map(|(_, result)| result.unwrap());
                assert!(results.eq(0..COUNT), "in order");
                let what = format!("of {bytes}, {threads} threads, batches of {batch}");
                let [given, decoded] = [in_flight.given, in_flight.decoded].map(|count| count.most.load(SeqCst));
                assert!((given - 1) * held < bytes, "{given} given {what}");
                assert!((decoded - 1) * PICTURE <= bytes, "{decoded} decoded {what}");
            }
        }
    }
}

/// Four threads that have a file each decode no more at once than fit.
#[test]
fn pictures_wait_for_room() {
    static ALL: Barrier = Barrier::new(4);
    let in_flight = InFlight::default();
    let stream = in_flight.stream(4, 2 * PICTURE, 7, Duration::from_millis(10));
    let results = stream.open(0..COUNT, |number| {
        if *number < 4 {
            ALL.wait();
        }
        Ok(Input::Bytes(png(*number)))
    });
    assert!(results.map(|(_, result)| result.unwrap()).eq(0..COUNT));
    assert_eq!(in_flight.decoded.most.load(SeqCst), 2);
}

/// Whatever becomes of pictures, their bytes are given back: in the end, four that fill the budget fit.
#[test]
fn all_bytes_are_given_back() {
    /// One of each fate, so that a leak is smaller than the budget: the input would stand still.
    const FIRST: u8 = 5;
    let refused = || Error::Argument { name: "picture".into(), found: "a bad one".into(), expected: "another".into() };
    let (taken, meeting) = (Arc::new(AtomicUsize::new(0)), Arc::new((Mutex::new(0), Condvar::new())));
    let is_last = taken.clone();
    let meet = meeting.clone();
    let plan = move || {
        if is_last.load(SeqCst) == usize::from(FIRST) {
            let mut met = meet.0.lock().unwrap();
            *met += 1;
            meet.1.notify_all();
            let (met, _) = meet.1.wait_timeout_while(met, Duration::from_secs(10), |met| *met < 4).unwrap();
            assert_eq!(*met, 4, "pictures that fit together");
        }
    };
    let submit = move |device, numbers: &[u8]| match numbers {
        [number, ..] if number % 5 == 1 => Err(refused()),
        [number, ..] if number % 5 == 2 => Ok(Pending::new(move || Err(refused()))),
        _ => ready(device, numbers),
    };
    let open = move |number: &mut u8| match *number % 5 {
        _ if *number >= FIRST => Ok(Input::Bytes(png(0))),
        3 => Ok(Input::Bytes(vec![0; PICTURE])),
        4 => Err(refused()),
        _ => Ok(Input::Bytes(png(*number))),
    };
    let given = taken.clone();
    let tags = (0..FIRST + 4).inspect(move |&number| {
        while number == FIRST && given.load(SeqCst) < usize::from(FIRST) {
            std::thread::yield_now();
        }
    });
    let options = StreamOptions::default().with_threads(4).with_bytes(4 * (png(0).len() + PICTURE));
    let hardware = Hardware { views: vec![1], is_host: false, alternate: false };
    let results = Stream::new(hardware, options, 1, Played { plan, submit }).open(tags, open);
    for (number, result) in results {
        taken.fetch_add(1, SeqCst);
        assert_eq!(result.is_ok(), number >= FIRST || number % 5 == 0, "{number}: {result:?}");
    }
}

/// The first picture that does not fit is decoded, but not beside batches that devices hold.
#[test]
fn a_picture_that_does_not_fit_waits_for_held_batches() {
    let (decoded, overtaken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let plan = {
        let decoded = decoded.clone();
        move || {
            decoded.fetch_add(1, SeqCst);
        }
    };
    let submit = {
        let (decoded, overtaken) = (decoded.clone(), overtaken.clone());
        move |_, numbers: &[u8]| {
            let (decoded, overtaken, number) = (decoded.clone(), overtaken.clone(), numbers[0]);
            Ok(Pending::new(move || {
                std::thread::sleep(Duration::from_millis(5));
                overtaken.fetch_add(decoded.load(SeqCst) - usize::from(number) - 1, SeqCst);
                Ok(vec![number])
            }))
        }
    };
    let hardware = Hardware { views: vec![1], is_host: false, alternate: false };
    let options = StreamOptions::default().with_threads(1).with_bytes(2 * PICTURE - 1);
    let stream = Stream::new(hardware, options, 1, Played { plan, submit });
    let results = stream.pictures((0..COUNT).map(|number| (number, png(number))));
    assert!(results.map(|(_, result)| result.unwrap()).eq(0..COUNT));
    assert_eq!((decoded.load(SeqCst), overtaken.load(SeqCst)), (usize::from(COUNT), 0));
}

/// What is in flight is bounded by the number of pictures as well, and a stream that ends drops its input.
#[test]
fn an_endless_input_is_not_read_ahead() {
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let input = std::iter::repeat_with(move || ((), numbered(count.fetch_add(1, SeqCst) as u8, 1)));
    let mut results = numbers(1, 1, ready).pictures(input);
    // Three threads, two batches of the device, one that is decoded meanwhile, and one whose result is not taken.
    for taken in 0..20 {
        while given.load(SeqCst) < taken + 7 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(given.load(SeqCst), taken + 7);
        assert_eq!(results.next().unwrap().1.unwrap(), taken as u8);
    }
    drop(results);
    is_dropped(&given);
}
