//! Files that are no pictures of a known format are named.

use super::{assert_refused, decode, file};
use crossalign::{DecodeOptions, Error, Picture, PictureErrorKind};

#[test]
fn other_formats_are_named() {
    let tga = [&[0; 40][..], b"TRUEVISION-XFILE.\0"].concat();
    let dicom = [&[0; 128][..], b"DICM\x02\0"].concat();
    // The end of what is looked at cuts a character.
    let cut_text = format!("x{}", "é".repeat(3000)).into_bytes();
    let pictures: &[(&[u8], &str)] = &[
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypheix\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftyphevc\0\0\0\0", "a HEIC picture"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIF picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
        (b"\0\0\0\x1cftypavis\0\0\0\0", "an AVIF picture"),
        (b"\xff\x0a\xfa\x1f\x41\x91", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"\xff\x4f\xff\x51\0\x2f", "a JPEG 2000 picture"),
        (b"8BPS\0\x01", "a Photoshop picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg/>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "a git-LFS pointer"),
        (b"\0\0\x01\0\x01\0", "an icon"),
        (b"\x76\x2f\x31\x01\x02\0\0\0", "an OpenEXR picture"),
        (b"qoif\0\0\0\x05", "a QOI picture"),
        (&tga, "a TGA picture"),
        (&dicom, "a DICOM picture"),
        (b"P6\n1 1\n255\nabc", "a netpbm picture"),
    ];
    let others: &[(&[u8], &str)] = &[
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\xef\xbb\xbf\n <!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"<HTML><BODY>Forbidden", "an HTML page"),
        (b"<?xml version='1.0'?><!DOCTYPE html><html xmlns='http://www.w3.org/1999/xhtml'>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML file"),
        (b"<rss/>", "an XML file"),
        (b"PK\x03\x04\x14\0", "a zip archive"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0", "an MP4 video"),
        (b"\0\0\0\x20ftypmp42\0\0\0\0", "an MP4 video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0", "a QuickTime video"),
        (b"\x1a\x45\xdf\xa3\x93\x42", "a Matroska or WebM video"),
        (b"RIFF\x24\0\0\0AVI LIST", "an AVI video"),
        (b"{\"message\": \"Not found\"}", "a JSON file"),
        (b"[1, 2]", "a JSON file"),
        (b"no picture at all", "plain text"),
        (&cut_text, "plain text"),
        (b"\x01\x02\x03\x04", "no known format"),
        (b"caf\xe9 au lait", "no known format"),
    ];
    for (files, kind) in [(pictures, PictureErrorKind::Format), (others, PictureErrorKind::NoPicture)] {
        files.iter().for_each(|(bytes, name)| assert_refused(bytes, kind, name));
    }
    assert_refused(b"", PictureErrorKind::Truncated, "an empty file");
}

#[test]
fn the_content_counts_and_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (Picture::open(&path, &DecodeOptions::default()), path)
    };
    assert!(named("is_a_gif.jpg", &file("whole.gif")).0.is_ok());
    let (error, expected) = named("photo.jpg", b"\0\0\0\x18ftypheic\0\0\0\0");
    let error = error.unwrap_err();
    let Error::Picture { path: Some(path), kind: PictureErrorKind::Format, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*path, expected);
    assert!(error.to_string().contains("photo.jpg: picture: found a HEIC picture, expected "), "{error}");
    let error = Picture::open("/nowhere/x.png", &DecodeOptions::default()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/x.png"), "{error}");
}

#[test]
fn cut_files_of_other_formats_are_refused() {
    for (name, needed) in [("base.bmp", 0), ("whole.gif", 3), ("alpha.webp", 0), ("lossy.webp", 0)] {
        let whole = file(name);
        for cut in 0..whole.len() - needed {
            assert!(decode(&whole[..cut]).is_err(), "{name}: {cut} of {} bytes", whole.len());
        }
        let error = decode(&whole[..whole.len() / 2]).unwrap_err();
        let kinds = [PictureErrorKind::Truncated, PictureErrorKind::Damaged];
        assert!(matches!(&error, Error::Picture { kind, .. } if kinds.contains(kind)), "{error:?}");
    }
    // Of more bytes than one, of the header's four, counts; of what the decoder would take zeros for, none.
    let (mut webp, pixels) = (Vec::new(), super::noise(40, 30));
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
    encoder.encode(&pixels, 40, 30, image::ExtendedColorType::Rgb8).unwrap();
    assert!(decode(&webp).unwrap().as_rgb().pixels() == pixels && webp.len() > 256);
    for missing in 1..20 {
        assert_refused(
            &webp[..webp.len() - missing],
            PictureErrorKind::Truncated,
            "a WebP shorter than its header says",
        );
    }
    // What the decoder said is kept.
    let error = decode(&file("base.bmp")[..60]).unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
}
