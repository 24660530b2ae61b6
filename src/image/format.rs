//! What a file is, by its first bytes.

use super::fault::fault;
use crate::error::PictureErrorKind::{self, Format, NoPicture, Truncated};
use crate::error::Result;
use image::ImageFormat;

/// Formats that are decoded; `?` stands for any byte. The last two are BigTIFF.
const DECODED: &[(&[u8], ImageFormat)] = &[
    (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
    (b"\xff\xd8\xff", ImageFormat::Jpeg),
    (b"RIFF????WEBP", ImageFormat::WebP),
    (b"GIF87a", ImageFormat::Gif),
    (b"GIF89a", ImageFormat::Gif),
    (b"BM", ImageFormat::Bmp),
    (b"II*\0", ImageFormat::Tiff),
    (b"MM\0*", ImageFormat::Tiff),
    (b"II+\0", ImageFormat::Tiff),
    (b"MM\0+", ImageFormat::Tiff),
];

/// Pictures that are not decoded. Of two that fit, the first counts.
const PICTURES: &[(&[u8], &str)] = &[
    (b"????ftyphe", "a HEIC picture"),
    (b"????ftypmif1", "a HEIF picture (HEIC or AVIF)"),
    (b"????ftypmsf1", "a HEIF picture (HEIC or AVIF)"),
    (b"????ftypavi", "an AVIF picture"),
    (b"????ftypcrx ", "a CR3 camera raw picture"),
    (b"????ftypjxl ", "a JPEG XL picture"),
    (b"????ftypjp2 ", "a JPEG 2000 picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"II\xbc\x01", "a JPEG XR picture"),
    (b"8BPS", "a Photoshop picture (PSD)"),
    (b"gimp xcf", "a GIMP picture (XCF)"),
    (b"\0\0\x01\0", "an icon (ICO)"),
    (b"\0\0\x02\0", "a cursor (CUR)"),
    (b"icns", "an icon (ICNS)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"#?RGBE", "a Radiance HDR picture"),
    (b"qoif", "a QOI picture"),
    (b"farbfeld", "a farbfeld picture"),
    (b"DDS ", "a DDS texture"),
    (b"SIMPLE  =", "a FITS picture"),
    (b"P1\n", "a netpbm picture (PBM)"),
    (b"P2\n", "a netpbm picture (PGM)"),
    (b"P3\n", "a netpbm picture (PPM)"),
    (b"P4\n", "a netpbm picture (PBM)"),
    (b"P5\n", "a netpbm picture (PGM)"),
    (b"P6\n", "a netpbm picture (PPM)"),
    (b"P7\n", "a netpbm picture (PAM)"),
];

/// Other files that are often found among pictures; searched after [`PICTURES`].
const OTHERS: &[(&[u8], &str)] = &[
    (b"????ftypqt  ", "a QuickTime video"),
    (b"????ftyp", "an MP4 video"),
    (b"????moov", "a QuickTime video"),
    (b"????mdat", "a QuickTime video"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"AT&TFORM", "a DjVu document"),
    (b"RIFF????AVI ", "an AVI video"),
    (b"RIFF????WAVE", "a WAV sound"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"FLV\x01", "a Flash video"),
    (b"OggS", "an Ogg file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x93NUMPY", "a NumPy array"),
];

/// Starts of text files, in lower case; `Format` marks those that are, or stand for, a picture.
const TEXTS: &[(&str, PictureErrorKind, &str)] = &[
    ("version https://git-lfs", Format, "a git-LFS pointer instead of the picture (git lfs pull fetches it)"),
    ("<svg", Format, "an SVG drawing"),
    ("<!doctype svg", Format, "an SVG drawing"),
    ("<!doctype html", NoPicture, "an HTML page"),
    ("<html", NoPicture, "an HTML page"),
    ("<head", NoPicture, "an HTML page"),
    ("<body", NoPicture, "an HTML page"),
    ("<", NoPicture, "an XML file"),
    ("{", NoPicture, "a JSON file"),
    ("[", NoPicture, "a JSON file"),
    ("", NoPicture, "plain text"),
];

/// Which decoder reads the file.
///
/// # Errors
/// When no decoder reads it; the error names the format where it is known.
pub(super) fn recognise(bytes: &[u8]) -> Result<ImageFormat> {
    let starts = |magic: &[u8]| {
        bytes.len() >= magic.len() && magic.iter().zip(bytes).all(|(&expected, &b)| expected == b || expected == b'?')
    };
    if bytes.is_empty() {
        return Err(fault(Truncated, "an empty file"));
    }
    if let Some(&(_, format)) = DECODED.iter().find(|(magic, _)| starts(magic)) {
        return Ok(format);
    }
    let of = |table: &[(&[u8], &'static str)], kind: PictureErrorKind| {
        table.iter().find(|(magic, _)| starts(magic)).map(|&(_, name)| (kind, name))
    };
    let named = of(PICTURES, Format).or_else(|| of(OTHERS, NoPicture)).or_else(|| without_magic(bytes));
    let (kind, found) = named.unwrap_or((NoPicture, "a file of no known format"));
    Err(fault(kind, found))
}

/// Recognises formats without a magic number at the start: by their end, by bytes farther in, or as text.
fn without_magic(bytes: &[u8]) -> Option<(PictureErrorKind, &'static str)> {
    // The bytes of a text that are looked at.
    const HEAD: usize = 4096;
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return Some((Format, "a TGA picture"));
    }
    if bytes.get(128..132) == Some(b"DICM") {
        return Some((Format, "a DICOM picture"));
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    // The head's end may cut a character in two.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start().to_lowercase();
    if text.starts_with("<?xml") || text.starts_with("<!--") {
        return Some(match text.contains("<svg") {
            true => (Format, "an SVG drawing"),
            false if text.contains("<html") => (NoPicture, "an HTML page"),
            false => (NoPicture, "an XML file"),
        });
    }
    TEXTS.iter().find(|(start, ..)| text.starts_with(start)).map(|&(_, kind, name)| (kind, name))
}
