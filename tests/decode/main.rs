//! Every picture format and its corner cases. The files and what they decode to are made by `tests/pictures/make.py`.

mod format;
mod jpeg;
mod limits;
mod pillow;
mod png;
mod progressive;
mod tiff;

use crossalign::{DecodeOptions, Error, Picture, PictureErrorKind, Result};
use std::path::PathBuf;

/// The path of a file that `make.py` made.
fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pictures")).join(name)
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

fn decode(bytes: &[u8]) -> Result<Picture> {
    Picture::decode(bytes, &DecodeOptions::default())
}

/// Asserts that the bytes are refused for this reason, with these words.
#[track_caller]
fn assert_refused(bytes: &[u8], expected_kind: PictureErrorKind, words: &str) {
    let error = decode(bytes).expect_err(words);
    let Error::Picture { path: None, kind, found, .. } = &error else { panic!("{error:?}") };
    assert!(*kind == expected_kind && found.contains(words), "{expected_kind:?}, {words}: {error:?}");
    assert!(error.to_string().starts_with("picture: found "), "{error}");
}

/// Bytes of a picture of noise.
fn noise(width: usize, height: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    (0..width * height * 3).scan(1, |state, _| next(state)).collect()
}
