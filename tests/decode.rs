//! Every picture format and its corner cases, against what Pillow's `convert("RGB")` does.

use crossalign::{DecodeOptions, Picture};
use image::{DynamicImage, ExtendedColorType, ImageFormat, codecs::jpeg::JpegEncoder};
use std::io::Cursor;

const SIZE: (u32, u32) = (5, 3);

/// Encodes raw samples in a format.
fn encode(samples: &[u8], color: ExtendedColorType, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut file, samples, SIZE.0, SIZE.1, color, format).unwrap();
    file.into_inner()
}

fn decode(bytes: &[u8]) -> Picture {
    Picture::decode(bytes, &DecodeOptions::default()).unwrap()
}

/// Samples that differ everywhere.
fn samples(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 37 % 256) as u8).collect()
}

fn pixels() -> usize {
    (SIZE.0 * SIZE.1) as usize
}

#[test]
fn lossless_formats_keep_every_byte() {
    let rgb = samples(pixels() * 3);
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        let picture = decode(&encode(&rgb, ExtendedColorType::Rgb8, format));
        assert_eq!((picture.width(), picture.height()), SIZE, "{format:?}");
        assert_eq!(picture.as_rgb().pixels(), rgb, "{format:?}");
    }
}

#[test]
fn grey_spreads_and_alpha_is_dropped() {
    let grey = samples(pixels());
    let spread: Vec<u8> = grey.iter().flat_map(|&v| [v; 3]).collect();
    assert_eq!(decode(&encode(&grey, ExtendedColorType::L8, ImageFormat::Png)).as_rgb().pixels(), spread);

    let rgba = samples(pixels() * 4);
    let opaque: Vec<u8> = rgba.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
    assert_eq!(decode(&encode(&rgba, ExtendedColorType::Rgba8, ImageFormat::Png)).as_rgb().pixels(), opaque);

    let grey_alpha = samples(pixels() * 2);
    let opaque: Vec<u8> = grey_alpha.chunks(2).flat_map(|pixel| [pixel[0]; 3]).collect();
    assert_eq!(decode(&encode(&grey_alpha, ExtendedColorType::La8, ImageFormat::Png)).as_rgb().pixels(), opaque);
}

#[test]
fn sixteen_bits_keep_the_upper_byte() {
    let values: Vec<u16> = (0..pixels() * 3).map(|i| (i * 4999 % 65_536) as u16).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    let upper: Vec<u8> = values.iter().map(|v| (v >> 8) as u8).collect();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        assert_eq!(decode(&encode(&bytes, ExtendedColorType::Rgb16, format)).as_rgb().pixels(), upper, "{format:?}");
    }
}

#[test]
fn the_first_frame_of_an_animation() {
    let frame = |value: u8| {
        let buffer = image::RgbaImage::from_pixel(SIZE.0, SIZE.1, image::Rgba([value, 0, 0, 255]));
        image::Frame::new(buffer)
    };
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    encoder.encode_frames([frame(200), frame(10)]).unwrap();
    drop(encoder);
    assert_eq!(decode(&file).as_rgb().pixels()[..3], [200, 0, 0]);
}

/// A JPEG with an EXIF orientation, one half black and one white.
fn oriented_jpeg(orientation: u8) -> Vec<u8> {
    let halves =
        DynamicImage::ImageRgb8(image::RgbImage::from_fn(32, 16, |x, _| image::Rgb([if x < 16 { 0 } else { 255 }; 3])));
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, 95).encode_image(&halves).unwrap();
    let tiff = [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", &[orientation][..], b"\0\0\0\0\0\0"].concat();
    let length = (2 + 6 + tiff.len()) as u16;
    let segment = [&[0xff, 0xe1][..], &length.to_be_bytes(), b"Exif\0\0", &tiff].concat();
    file.splice(2..2, segment);
    file
}

#[test]
fn exif_orientation_is_applied_unless_turned_off() {
    let dark =
        |picture: &Picture, x: u32, y: u32| picture.as_rgb().pixels()[((y * picture.width() + x) * 3) as usize] < 128;
    // 6: to be turned clockwise, so that the left half comes up.
    let turned = decode(&oriented_jpeg(6));
    assert_eq!((turned.width(), turned.height()), (16, 32));
    assert!(dark(&turned, 8, 2) && !dark(&turned, 8, 29));
    let mirrored = decode(&oriented_jpeg(2));
    assert!(!dark(&mirrored, 2, 8) && dark(&mirrored, 29, 8));

    let as_stored = DecodeOptions { exif_rotation: false, ..Default::default() };
    let stored = Picture::decode(&oriented_jpeg(6), &as_stored).unwrap();
    assert_eq!((stored.width(), stored.height()), (32, 16));
}

#[test]
fn damaged_files_are_errors() {
    let rgb = samples(pixels() * 3);
    let whole = [
        encode(&rgb, ExtendedColorType::Rgb8, ImageFormat::Png),
        encode(&rgb, ExtendedColorType::Rgb8, ImageFormat::Bmp),
        encode(&rgb, ExtendedColorType::Rgb8, ImageFormat::Tiff),
        encode(&rgb, ExtendedColorType::Rgb8, ImageFormat::WebP),
        oriented_jpeg(1),
    ];
    for file in whole {
        for part in [0, 1, 10, file.len() / 2] {
            let message = Picture::decode(&file[..part], &DecodeOptions::default()).unwrap_err().to_string();
            assert!(message.starts_with("picture: found"), "{message}");
        }
    }
    // The decoder alone would fill what is missing with grey.
    let mut jpeg = Vec::new();
    let noise = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([(x * y % 251) as u8; 3]));
    JpegEncoder::new(&mut jpeg).encode_image(&noise).unwrap();
    assert!(Picture::decode(&jpeg, &DecodeOptions::default()).is_ok());
    for length in jpeg.len() / 2..jpeg.len() {
        assert!(Picture::decode(&jpeg[..length], &DecodeOptions::default()).is_err(), "{length} of {}", jpeg.len());
    }
    assert!(Picture::decode(b"no picture at all", &DecodeOptions::default()).is_err());
    assert!(
        Picture::open("/nowhere/x.png", &DecodeOptions::default()).unwrap_err().to_string().contains("/nowhere/x.png")
    );
}

#[test]
fn too_many_pixels_are_refused_before_decoding() {
    // A header that claims 60,000 × 60,000 pixels and has no data.
    let mut bmp = encode(&samples(pixels() * 3), ExtendedColorType::Rgb8, ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    let message = Picture::decode(&bmp, &DecodeOptions::default()).unwrap_err().to_string();
    assert!(message.contains("60000×60000") && message.contains("200000000"), "{message}");
}
