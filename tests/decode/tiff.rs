//! TIFF files that are refused.

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
