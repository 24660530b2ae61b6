//! An operating system that gives few threads.

use super::{assert_right, build, classify};

#[machine::has(gxx)]
#[test]
fn few_threads_are_slow_or_an_error() {
    let folder = build("threads", &["threads"]);
    let library = folder.join("threads.so");
    let with = |threads: &str, device| {
        classify(&folder, device, &[], &[("LD_PRELOAD", library.to_str().unwrap()), ("THREADS", threads)])
    };
    for device in ["cpu", "reference"] {
        let healthy = with("1000", device);
        assert!(healthy.status.success());
        let mut refused = 0;
        for threads in ["0", "1", "2", "3", "4", "5"] {
            let output = with(threads, device);
            assert_right(&output, &healthy, &format!("{threads} threads on {device}"));
            refused += usize::from(output.status.code() == Some(1));
        }
        assert!((1..5).contains(&refused), "{refused}");
    }
}
