//! How a picture is to be turned: EXIF's orientation, or XMP's where EXIF has none.

use image::metadata::Orientation;
use regex::bytes::Regex;
use std::sync::LazyLock;

/// TIFF's tag of the orientation (EXIF 2.32, 4.6.4 A).
const ORIENTATION: u32 = 0x0112;
/// TIFF's types of it: EXIF asks for a SHORT, some writers make a LONG (TIFF 6.0, section 2).
const SHORT: u32 = 3;
const LONG: u32 = 4;

/// `tiff:Orientation` (XMP Specification Part 2, 3.2) as an attribute or as an element.
static XMP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\btiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]"#).expect("a valid pattern"));

/// The orientation that the metadata ask for; nothing is turned where they are missing or damaged.
pub(super) fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    exif.and_then(from_exif).or_else(|| xmp.and_then(from_xmp)).unwrap_or(Orientation::NoTransforms)
}

/// Reads the first directory of EXIF's TIFF structure.
fn from_exif(exif: &[u8]) -> Option<Orientation> {
    // JPEG's identifier, which some writers put into WebP and PNG, too.
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let big_endian = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let number = |at: usize, width: usize| {
        let bytes = tiff.get(at..at.checked_add(width)?)?;
        let push = |number: u32, &byte: &u8| number << 8 | u32::from(byte);
        Some(if big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) })
    };
    let directory = number(4, 4)? as usize;
    let entries = number(directory, 2)? as usize;
    let entry = (0..entries)
        .map(|entry| directory.saturating_add(2 + entry * 12))
        .find(|&entry| number(entry, 2) == Some(ORIENTATION))?;
    match number(entry + 2, 2)? {
        SHORT => from_number(number(entry + 8, 2)?),
        LONG => from_number(number(entry + 8, 4)?),
        _ => None,
    }
}

fn from_xmp(xmp: &[u8]) -> Option<Orientation> {
    from_number((XMP.captures(xmp)?[1][0] - b'0').into())
}

/// EXIF's numbers 1 to 8.
pub(super) fn from_number(number: u32) -> Option<Orientation> {
    u8::try_from(number).ok().and_then(Orientation::from_exif)
}
