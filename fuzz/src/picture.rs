//! Hostile picture files, and views of what they decode to.

use super::accepted;
use crossalign::backend::{Cpu, Reference, SimdLevel};
use crossalign::image::{CropBox, Resize, ViewSampling, plan_views, resampled};
use crossalign::{DecodeOptions, Picture};
use std::sync::LazyLock;

/// The most pixels of a picture: the reference backend is slow.
const MAX_PIXELS: u64 = 1 << 16;

static LEVELS: LazyLock<Vec<Cpu>> = LazyLock::new(|| {
    let there = SimdLevel::ALL.into_iter().filter(|level| level.is_available());
    there.map(|level| Cpu::with_level(level, 1).expect("a thread")).collect()
});

/// A picture file. Its bytes also choose the views.
pub fn picture(data: &[u8]) {
    let decode = |exif_rotation| {
        let decoded = Picture::decode(
            data,
            &DecodeOptions::default().with_exif_rotation(exif_rotation).with_max_pixels(MAX_PIXELS),
        );
        // A decoder's panic is caught and told as a damaged picture; here it is a finding.
        let panicked = decoded.as_ref().is_err_and(|error| error.to_string().contains("makes its decoder panic"));
        assert!(!panicked, "a decoder panics");
        decoded
    };
    let (turned, stored) = (accepted(decode(true), "picture: found"), accepted(decode(false), "picture: found"));
    assert_eq!(turned.is_some(), stored.is_some());
    let (Some(picture), Some(stored)) = (turned, stored) else { return };
    let (width, height) = (picture.width(), picture.height());
    assert!([(width, height), (height, width)].contains(&(stored.width(), stored.height())));
    assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);

    let seed = data.iter().fold(0u64, |seed, &byte| seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
    let mut boxes =
        ViewSampling { count: 2, alpha: 0.01, beta: 1.0, seed }.boxes(picture.as_rgb()).expect("crops of any picture");
    boxes.push(any_box(width, height, seed));
    let plan = plan_views((width, height), &boxes, 1 + (seed >> 32) as u32 % 40, Resize::ShortestEdge)
        .expect("boxes inside the picture");
    let expected = resampled(&Reference, picture.as_rgb(), &plan).expect("views");
    for cpu in LEVELS.iter() {
        let views = resampled(cpu, picture.as_rgb(), &plan).expect("views");
        assert!(views == expected, "{:?} differs from the reference", cpu.level());
    }
}

/// A box inside the picture, of any shape.
fn any_box(width: u32, height: u32, seed: u64) -> CropBox {
    let bits = |shift: u32| (seed >> shift) as u32 & 0xffff;
    let (x, y) = (bits(0) % width, bits(16) % height);
    CropBox::new(x, y, 1 + bits(32) % (width - x), 1 + bits(48) % (height - y))
}
