//! Devices under way: their batches, their panics and their faults.

use super::is_dropped;
use super::played::{numbered, numbers, ready};
use crossalign::Error;
use crossalign::align::Input;
use crossalign::backend::Pending;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        Ok(Input::Picture(numbered(*tag, 1)))
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
        Ok(Input::Picture(numbered(*tag, 1)))
    };
    let gaps = Arc::new(AtomicUsize::new(0));
    let count = gaps.clone();
    let submit = move |device, numbers: &[u8]| {
        count.fetch_add(numbers.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count(), SeqCst);
        ready(device, numbers)
    };
    let results: Vec<_> = numbers(3, 4, submit).open(0..100u8, open).map(|(_, result)| result.unwrap()).collect();
    assert!(results.into_iter().eq(0..100));
    assert_eq!(gaps.load(SeqCst), 0);
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
    let pictures = (0..50u8).map(|i| (i, numbered(i, 1)));
    let results: Vec<_> = numbers(2, 1, submit).pictures(pictures).map(|(_, result)| result.unwrap()).collect();
    assert!(results.into_iter().eq(0..50));
}

#[test]
fn a_panic_of_a_device_comes_behind_the_results_before_it() {
    let submit = |device, numbers: &[u8]| match numbers {
        [4, ..] => panic!("a device that panics"),
        _ => ready(device, numbers),
    };
    let mut results = numbers(1, 4, submit).pictures((0..200u8).map(|i| (i, numbered(i, 1))));
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
            let input = if i == 5 { Input::Bytes(vec![]) } else { Input::Picture(numbered(i, 1)) };
            (i, input)
        });
        let fail = move |device, numbers: &[u8]| match numbers.contains(&6) {
            true if late => Ok(Pending::new(|| Err(lost()))),
            true => Err(lost()),
            false => ready(device, numbers),
        };
        let results: Vec<_> = numbers(devices, 4, fail).pictures(pictures).collect();
        is_dropped(&input);
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
        number => Ok(Input::Picture(numbered(number, 1))),
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
    let pictures = (0..10u8).map(|i| if i == 7 { panic!("an input that panics") } else { (i, numbered(i, 1)) });
    let mut results = numbers(1, 4, ready).pictures(pictures);
    let tags: Vec<u8> = results.by_ref().take(7).map(|(tag, _)| tag).collect();
    assert_eq!(tags, [0, 1, 2, 3, 4, 5, 6]);
    let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next()));
    assert_eq!(next.unwrap_err().downcast_ref(), Some(&"an input that panics"));
    assert!(results.next().is_none());
}

fn lost() -> Error {
    Error::Device { device: "cuda:0".into(), reason: "lost".into() }
}

fn refused(numbers: &[u8]) -> Error {
    Error::Argument { name: "batch".into(), found: format!("{numbers:?}"), expected: "good pictures".into() }
}

/// A batch that fails is run in halves.
#[test]
fn bad_pictures_lose_only_themselves() {
    const BAD: [u8; 3] = [0, 40, 41];
    let calls = Arc::new(AtomicUsize::new(0));
    let submit = {
        let calls = calls.clone();
        move |device, numbers: &[u8]| {
            calls.fetch_add(1, SeqCst);
            if numbers.iter().any(|number| BAD.contains(number)) {
                Err(refused(numbers))
            } else {
                ready(device, numbers)
            }
        }
    };
    let results: Vec<_> = numbers(1, 64, submit).pictures((0..64u8).map(|i| (i, numbered(i, 1)))).collect();
    for (tag, result) in &results {
        match result {
            Ok(number) => assert!(number == tag && !BAD.contains(tag)),
            Err(error) => assert_eq!(error.to_string(), refused(&[*tag]).to_string()),
        }
    }
    assert_eq!(results.len(), 64);
    assert!(calls.load(SeqCst) < 40, "{} calls", calls.load(SeqCst));
}

#[test]
fn a_device_that_fails_is_not_asked_again() {
    let is_lost = AtomicBool::new(false);
    let submit = move |device, numbers: &[u8]| match numbers {
        _ if is_lost.load(SeqCst) => panic!("the device is asked again"),
        [2] => {
            is_lost.store(true, SeqCst);
            Err(lost())
        }
        _ if numbers.contains(&2) => Err(refused(numbers)),
        _ => ready(device, numbers),
    };
    let results = numbers(1, 8, submit).pictures((0..8u8).map(|i| (i, numbered(i, 1))));
    let found: Vec<_> = results.map(|(_, result)| result.map_err(|error| error.to_string())).collect();
    let lost = Err("device cuda:0: lost; pictures finished before: 2".to_string());
    assert_eq!(found[..2], [Ok(0), Ok(1)]);
    assert!(found.len() > 2 && found[2..].iter().all(|result| *result == lost), "{found:?}");
}

/// Threads with larger stacks than there is memory cannot be started.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "how a system refuses threads is its own")]
fn no_thread_is_each_pictures_error() {
    if std::env::var_os("RUST_MIN_STACK").is_none() {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["devices::no_thread_is_each_pictures_error", "--exact", "--test-threads", "1"]);
        let output = test.env("RUST_MIN_STACK", (1u64 << 46).to_string()).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut results = numbers(2, 4, ready).pictures((0..3u8).map(|i| (i, numbered(i, 1))));
    for number in 0..3 {
        let (tag, result) = results.next().unwrap();
        assert_eq!(tag, number);
        assert!(result.unwrap_err().to_string().starts_with("device host: no thread: "));
    }
    assert!(results.next().is_none());
}
