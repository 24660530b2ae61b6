//! PNG files whose end is missing.

use super::{assert_refused, decode, file};
use crossalign::PictureErrorKind;

/// The data of the last IDAT chunk: where they start and end.
fn data(png: &[u8]) -> (usize, usize) {
    let kind = png.windows(4).rposition(|kind| kind == b"IDAT").unwrap();
    let length = u32::from_be_bytes(png[kind - 4..kind].try_into().unwrap()) as usize;
    (kind + 4, kind + 4 + length)
}

#[test]
fn all_rows_are_enough_and_needed() {
    let end = file("base.png").split_off(file("base.png").len() - 12);
    for name in ["base.png", "noiend_palette.png", "noiend_adam7.png", "grey16.png"] {
        let png = file(name);
        let (start, stop) = data(&png);
        let picture = decode(&png).unwrap();
        // Adler's checksum ends the data.
        for cut in stop - 4..png.len() {
            assert_eq!(decode(&png[..cut]).unwrap(), picture, "{name}: {cut} of {} bytes", png.len());
        }
        // Deflate's last symbol, the end of its block, may share a byte with the one before.
        for cut in start..stop - 6 {
            assert!(decode(&png[..cut]).is_err(), "{name}: {cut} of {} bytes", png.len());
            assert!(decode(&[&png[..cut], &end].concat()).is_err(), "{name}: {cut} of {} bytes and IEND", png.len());
        }
    }
    let png = file("base.png");
    assert_refused(&png[..20], PictureErrorKind::Truncated, "");
    assert_refused(&png[..png.len() / 2], PictureErrorKind::Truncated, "");
}

#[test]
fn a_damaged_row_is_refused() {
    let mut png = file("base.png");
    let (start, stop) = data(&png);
    png[start.midpoint(stop)] ^= 0x55;
    assert_refused(&png, PictureErrorKind::Damaged, "");
    assert_refused(&png[..png.len() - 12], PictureErrorKind::Damaged, "");
    // A checksum alone.
    let mut png = file("base.png");
    png[stop] ^= 1;
    assert_refused(&png, PictureErrorKind::Damaged, "CRC");
    assert_refused(&png[..png.len() - 12], PictureErrorKind::Damaged, "CRC");
}
