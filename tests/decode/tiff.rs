//! TIFF files that are refused, and such that Pillow does not write.

use super::{assert_refused, decode, file};
use crossalign::PictureErrorKind;

#[test]
fn kinds_that_are_not_decoded_are_named() {
    for (name, words) in [
        ("float", "float samples"),
        ("float_rgb", "float samples"),
        ("signed", "signed samples"),
        ("bits32", "samples of 32 bits"),
        ("preview", "a preview"),
        ("bands", "4 bands"),
        ("coefficients", "YCbCr of other coefficients: [0.2126"),
    ] {
        assert_refused(&file(&format!("refused_{name}.tif")), PictureErrorKind::Damaged, words);
    }
}

#[test]
fn cut_files_are_refused() {
    for name in ["base.tif", "big.tif", "palette8.tif", "ycbcr_jpeg.tif", "bilevel.tif", "lzw.tif"] {
        let tiff = file(name);
        for cut in (1..tiff.len() / 2).chain([tiff.len() * 3 / 4]) {
            assert!(decode(&tiff[..cut]).is_err(), "{name}: {cut} of {} bytes", tiff.len());
        }
        assert_refused(&tiff[..tiff.len() / 4], PictureErrorKind::Truncated, "");
    }
}

#[test]
fn a_palette_must_have_all_colours() {
    let mut tiff = file("palette8.tif");
    // The count of the tag ColorMap, 320.
    let entry = tiff.windows(4).position(|entry| entry == [0x40, 1, 3, 0]).unwrap();
    tiff[entry + 4..entry + 6].copy_from_slice(&300u16.to_le_bytes());
    assert_refused(&tiff, PictureErrorKind::Damaged, "a palette of 300 numbers for 8 bits");
}

#[test]
fn a_jpeg_strip_must_be_in_the_file() {
    let mut tiff = file("ycbcr_jpeg.tif");
    let number = |tiff: &[u8], at: usize| u32::from_le_bytes(tiff[at..at + 4].try_into().unwrap()) as usize;
    // The strip again, behind the directory: the one LONG of the tag StripOffsets, 273, tells where, and that of
    // StripByteCounts, 279, how long it is.
    let value = |tag: u8| tiff.windows(8).position(|entry| *entry == [tag, 1, 4, 0, 1, 0, 0, 0]).unwrap() + 8;
    let (offset, count) = (value(0x11), value(0x17));
    let (start, length) = (number(&tiff, offset), number(&tiff, count));
    let end = tiff.len() as u32;
    tiff.extend_from_within(start..start + length);
    tiff[offset..offset + 4].copy_from_slice(&end.to_le_bytes());
    assert_eq!(decode(&tiff).unwrap(), decode(&file("ycbcr_jpeg.tif")).unwrap());
    for missing in [1, length / 2] {
        let cut = &tiff[..tiff.len() - missing];
        assert_refused(cut, PictureErrorKind::Truncated, "a TIFF that ends before its last strip");
    }
}

/// A TIFF of 4 × 2 pixels in one strip, or one a plane; of each tag its type (3: SHORT, 4: LONG, 5: RATIONAL) and numbers.
fn tiff(bits: u16, samples: u16, photometric: u16, more: &[(u16, u16, &[u32])], planes: &[&[u8]]) -> Vec<u8> {
    let mut file = b"II*\0\0\0\0\0".to_vec();
    let (mut offsets, mut counts) = (Vec::new(), Vec::new());
    for plane in planes {
        offsets.push(file.len() as u32);
        counts.push(plane.len() as u32);
        file.extend_from_slice(plane);
    }
    let depths = vec![u32::from(bits); samples.into()];
    let own: [(u16, u16, &[u32]); 9] = [
        (256, 3, &[4]),
        (257, 3, &[2]),
        (258, 3, &depths),
        (259, 3, &[1]),
        (262, 3, &[photometric.into()]),
        (273, 4, &offsets),
        (277, 3, &[samples.into()]),
        (278, 3, &[2]),
        (279, 4, &counts),
    ];
    let mut tags: Vec<_> = own.iter().chain(more).collect();
    tags.sort();
    let mut directory = (tags.len() as u16).to_le_bytes().to_vec();
    for &&(tag, kind, numbers) in &tags {
        let content: Vec<u8> = match kind {
            3 => numbers.iter().flat_map(|&n| (n as u16).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        };
        let count = numbers.len() / if kind == 5 { 2 } else { 1 };
        directory.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        directory.extend((count as u32).to_le_bytes());
        if content.len() > 4 {
            directory.extend((file.len() as u32).to_le_bytes());
            file.extend(content);
        } else {
            directory.extend(content.iter().chain(&[0; 4]).take(4));
        }
    }
    let at = (file.len() as u32).to_le_bytes();
    file[4..8].copy_from_slice(&at);
    [file, directory, vec![0; 4]].concat()
}

fn pixels(tiff: &[u8]) -> Vec<[u8; 3]> {
    decode(tiff).unwrap().as_rgb().pixels().as_chunks().0.to_vec()
}

#[test]
fn cmyk_has_black() {
    let samples: Vec<u8> = (0..32).map(|i| (i * 37 % 256) as u8).collect();
    for (found, pixel) in pixels(&tiff(8, 4, 5, &[], &[&samples])).iter().zip(samples.as_chunks::<4>().0) {
        let light = |ink: u8| (255.0 - f64::from(ink)) * (255.0 - f64::from(pixel[3])) / 255.0;
        for (&found, &ink) in found.iter().zip(pixel) {
            assert!((f64::from(found) - light(ink)).abs() <= 1.0, "{pixel:?}: {found}, expected {}", light(ink));
        }
    }
}

/// Of 16 bits the upper eight count, but for grey that has none.
#[test]
fn low_samples_of_sixteen_bits_are_grey() {
    let low: Vec<u8> = (0..24).flat_map(|i: u16| (10 * i).to_le_bytes()).collect();
    assert!(pixels(&tiff(16, 3, 2, &[], &[&low])).into_iter().eq([[0; 3]; 8]));
    assert!(pixels(&tiff(16, 1, 1, &[], &[&low[..16]])).into_iter().eq((0..8).map(|i| [10 * i; 3])));
}

#[test]
fn what_would_be_misread_is_refused() {
    let (wide, bytes) = ([0; 16], [7; 40]);
    let palette = vec![0; 3 << 16];
    assert_refused(&tiff(16, 1, 3, &[(320, 3, &palette)], &[&wide]), PictureErrorKind::Damaged, "samples of 16 bits");
    // Differences over samples that the decoder leaves out.
    let extra = |predictor| tiff(8, 5, 2, &[(317, 3, &[predictor]), (338, 3, &[0, 0])], &[&bytes]);
    assert_refused(&extra(2), PictureErrorKind::Damaged, "a predictor");
    assert!(decode(&extra(1)).is_ok());
    // The coefficients of YCbCr and the range of its samples, as RATIONAL, LONG or SHORT.
    let ycbcr = |more: (u16, u16, &[u32])| tiff(8, 3, 6, &[(530, 3, &[1, 1]), more], &[&bytes[..24]]);
    let plain = decode(&ycbcr((531, 3, &[1]))).unwrap();
    let range = [0, 255, 128, 255, 128, 255];
    let rationals: Vec<u32> = range.iter().flat_map(|&n| [2 * n, 2]).collect();
    for (kind, numbers) in [(3, &range[..]), (4, &range), (5, &rationals)] {
        assert_eq!(decode(&ycbcr((532, kind, numbers))).unwrap(), plain, "type {kind}");
        let mut other = numbers.to_vec();
        other[0] += 16;
        assert_refused(&ycbcr((532, kind, &other)), PictureErrorKind::Damaged, "YCbCr of other coefficients");
    }
}
