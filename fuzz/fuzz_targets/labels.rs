#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| crossalign_fuzz::labels(data));
