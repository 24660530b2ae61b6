//! Where a JPEG ends, and what is refused.

use super::{assert_refused, decode, file};
use crossalign::PictureErrorKind;

/// Where the content of the first segment of this kind starts.
fn content(jpeg: &[u8], marker: u8) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xff, marker]).unwrap() + 4
}

const KINDS: [&str; 9] = [
    "base.jpg",
    "444.jpg",
    "422.jpg",
    "grey.jpg",
    "cmyk.jpg",
    "scans.jpg",
    "restart.jpg",
    "progressive.jpg",
    "progressive_restart.jpg",
];

#[test]
fn a_cut_picture_is_refused_however_it_ends() {
    let other = file("base.jpg");
    for name in KINDS {
        let jpeg = file(name);
        // From the first scan on; the end marker is no data.
        for cut in content(&jpeg, 0xda)..jpeg.len() - 2 {
            let ends: [&[u8]; 3] = [b"", b"\xff\xd9", &other];
            for end in ends {
                let cut_file = [&jpeg[..cut], end].concat();
                assert!(decode(&cut_file).is_err(), "{name}: {cut} of {} bytes, then {}", jpeg.len(), end.len());
            }
        }
        let half = content(&jpeg, 0xda).midpoint(jpeg.len());
        assert_refused(&[&jpeg[..half], b"\xff\xd9"].concat(), PictureErrorKind::Truncated, "a JPEG that ends");
        assert_refused(&jpeg[..half], PictureErrorKind::Truncated, "a JPEG");
    }
}

#[test]
fn what_follows_the_end_changes_nothing() {
    for name in KINDS {
        let jpeg = file(name);
        let picture = decode(&jpeg).unwrap();
        for end in [&b""[..], b"\xff", b"\xff\xff\xff\xd9", b"\xff\xda\0\x08", b"\0\xff\xd8\xff", &[0xaa; 100]] {
            assert_eq!(decode(&[&jpeg, end].concat()).unwrap(), picture, "{name}, then {end:?}");
            let endless = [&jpeg[..jpeg.len() - 2], end].concat();
            assert_eq!(decode(&endless).unwrap(), picture, "{name} without its end, then {end:?}");
        }
    }
}

#[test]
fn scans_of_a_progressive_picture_are_all_needed() {
    let jpeg = file("progressive.jpg");
    let scans: Vec<_> =
        jpeg.windows(2).enumerate().filter(|(_, pair)| *pair == [0xff, 0xda]).map(|(at, _)| at).collect();
    assert_eq!(scans.len(), 10);
    // Before each scan stand its tables, which do not matter here.
    for &scan in &scans {
        assert_refused(&[&jpeg[..scan], b"\xff\xd9"].concat(), PictureErrorKind::Truncated, "before its last scan");
    }
}

#[test]
fn kinds_that_are_not_decoded_are_named() {
    let jpeg = file("base.jpg");
    let frame = content(&jpeg, 0xc0);
    for (marker, kind) in [
        (0xc3, "lossless"),
        (0xc5, "hierarchical"),
        (0xc9, "arithmetic"),
        (0xca, "arithmetic"),
        (0xcb, "arithmetic"),
        (0xf7, "JPEG-LS"),
    ] {
        let mut other = jpeg.clone();
        other[frame - 3] = marker;
        assert_refused(&other, PictureErrorKind::Damaged, kind);
    }
    let mut deep = jpeg.clone();
    deep[frame] = 12;
    assert_refused(&deep, PictureErrorKind::Damaged, "12 bits");
}

#[test]
fn damaged_segments_are_refused() {
    let jpeg = file("base.jpg");
    let changed = |at: usize, byte: u8| {
        let mut jpeg = jpeg.clone();
        jpeg[at] = byte;
        jpeg
    };
    let (frame, tables, scan) = (content(&jpeg, 0xc0), content(&jpeg, 0xc4), content(&jpeg, 0xda));
    assert_refused(&changed(frame - 1, 3), PictureErrorKind::Damaged, "frame header");
    assert_refused(&changed(frame + 5, 5), PictureErrorKind::Damaged, "frame header");
    assert_refused(&changed(frame + 7, 0x51), PictureErrorKind::Damaged, "frame header");
    assert_refused(&changed(tables, 0x20), PictureErrorKind::Damaged, "Huffman table");
    assert_refused(&changed(tables + 1, 3), PictureErrorKind::Damaged, "Huffman table");
    assert_refused(&changed(scan + 1, 9), PictureErrorKind::Damaged, "scan header");
    assert_refused(&changed(scan + 2, 0x33), PictureErrorKind::Damaged, "without the Huffman tables");
    // No pixel, and a height that nothing tells.
    assert_refused(&changed(frame + 4, 0), PictureErrorKind::Size, "0×19 pixels");
    assert_refused(&changed(frame + 2, 0), PictureErrorKind::Size, "27×0 pixels");
}
