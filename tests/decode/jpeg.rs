//! Where a JPEG ends, and what is refused.

use super::{assert_refused, decode, file};
use crossalign::{DecodeOptions, Picture, PictureErrorKind};

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
    let (start, length) = (frame - 4, 2 + usize::from(jpeg[frame - 1]));
    let twice = [&jpeg[..start + length], &jpeg[start..]].concat();
    assert_refused(&twice, PictureErrorKind::Damaged, "two frames");
    assert_refused(&changed(scan + 2, 0x33), PictureErrorKind::Damaged, "without the Huffman tables");
    // No pixel, and a height that nothing tells.
    assert_refused(&changed(frame + 4, 0), PictureErrorKind::Size, "0×19 pixels");
    assert_refused(&changed(frame + 2, 0), PictureErrorKind::Size, "27×0 pixels");
}

/// Coefficients that no scan brought are zero: behind the scan of all first ones, any other may be missing.
#[test]
fn scans_that_bring_nothing_begun_may_be_missing() {
    let (mut jpeg, pixels) = (Vec::new(), super::noise(21, 13));
    let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 80);
    encoder.set_progressive(true);
    encoder.encode(&pixels, 21, 13, jpeg_encoder::ColorType::Rgb).unwrap();
    let scans = jpeg.windows(2).enumerate().filter(|(_, pair)| *pair == [0xff, 0xda]).map(|(at, _)| at);
    // Three have the first ones, of a component each.
    let scans: Vec<usize> = scans.skip(3).collect();
    assert!(scans.len() > 3);
    for scan in scans {
        let shorter = [&jpeg[..scan], b"\xff\xd9"].concat();
        let expected = image::load_from_memory(&shorter).unwrap().into_rgb8();
        assert!(decode(&shorter).unwrap().as_rgb().pixels() == &*expected);
        let picture = decode(&[&shorter[..], b"behind the end"].concat()).unwrap();
        assert!(picture.as_rgb().pixels() == &*expected, "{scan} of {} bytes", jpeg.len());
    }
}

/// Sides that are no multiple of an MCU, sampling factors, restarts and codes of all lengths.
#[test]
fn pictures_of_noise_are_whole() {
    use jpeg_encoder::SamplingFactor::*;
    for (width, height) in [(1, 1), (8, 16), (17, 9), (33, 50), (100, 3)] {
        for sampling in [F_1_1, F_2_1, F_1_2, F_2_2, F_4_1] {
            for (progressive, restart, optimized) in
                [(false, 0, true), (false, 3, false), (true, 0, true), (true, 2, false)]
            {
                let (mut jpeg, pixels) = (Vec::new(), super::noise(width, height));
                let mut encoder = jpeg_encoder::Encoder::new(&mut jpeg, 97);
                encoder.set_sampling_factor(sampling);
                encoder.set_progressive(progressive);
                encoder.set_restart_interval(restart);
                encoder.set_optimized_huffman_tables(optimized);
                encoder.encode(&pixels, width as u16, height as u16, jpeg_encoder::ColorType::Rgb).unwrap();
                let what = format!("{width}×{height}, {sampling:?}, {progressive}, {restart}, {optimized}");
                let expected = image::load_from_memory(&jpeg).unwrap().into_rgb8();
                let picture = decode(&[&jpeg[..], &file("base.jpg")].concat()).expect(&what);
                assert!(picture.as_rgb().pixels() == &*expected, "{what}");
                // The data's last bytes: what the walk looks at may be some behind what it needs.
                let end = jpeg.len() - 2;
                let last = jpeg.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
                for cut in (end - 12).max(content(&jpeg[last..], 0xda) + last + 6)..end {
                    assert!(decode(&[&jpeg[..cut], b"\xff\xd9"].concat()).is_err(), "{what}: {cut} of {end} bytes");
                }
            }
        }
    }
}

/// EXIF of both byte orders, with entries before the orientation, as a SHORT or a LONG.
#[test]
fn exif_is_read_in_both_orders() {
    let jpeg = file("base.jpg");
    let turned = decode(&file("orientation_long.jpg")).unwrap(); // clockwise, 6
    let plain = decode(&jpeg).unwrap();
    for (little, before, kind) in [(true, 0, 3u16), (true, 1, 4), (true, 7, 3), (false, 1, 3), (false, 5, 4)] {
        let short = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let long = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let exif = |tag: u16, kind: u16| {
            let value = if kind == 3 { [short(6), [0; 2]].concat() } else { long(6).to_vec() };
            let entry = |tag: u16| [&short(tag)[..], &short(kind), &long(1), &value].concat();
            let others: Vec<u8> = (0..before).flat_map(|i| entry(0x100 + i)).collect();
            let head =
                [if little { &b"II"[..] } else { b"MM" }, &short(42), &long(10), &[0; 2], &short(before + 1)].concat();
            let exif = [&b"Exif\0\0"[..], &head, &others, &entry(tag), &[0; 4]].concat();
            let length = (exif.len() as u16 + 2).to_be_bytes();
            [&jpeg[..2], b"\xff\xe1", &length, &exif, &jpeg[2..]].concat()
        };
        assert_eq!(decode(&exif(0x112, kind)).unwrap(), turned, "{little}, {before} before, {kind}");
        assert_eq!(decode(&exif(0x113, kind)).unwrap(), plain, "another tag");
        assert_eq!(decode(&exif(0x112, 5)).unwrap(), plain, "another type");
        let off = DecodeOptions::default().with_exif_rotation(false);
        assert_eq!(Picture::decode(&exif(0x112, kind), &off).unwrap(), plain);
    }
}
