//! From a file's bytes to RGB.

use crate::backend::Rgb;
use crate::error::{Error, PictureErrorKind, Result};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// How pictures are decoded.
#[derive(Clone, Copy, Debug)]
pub struct DecodeOptions {
    /// Turn the picture as its EXIF orientation says.
    pub exif_rotation: bool,
    /// Refuse, before decoding, a picture of more pixels.
    pub max_pixels: u64,
}

impl Default for DecodeOptions {
    /// Turned by EXIF, at most 200 megapixels.
    fn default() -> Self {
        Self { exif_rotation: true, max_pixels: 200_000_000 }
    }
}

/// A decoded picture: RGB, 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture from `pixels`, `[height, width, 3]`.
    ///
    /// # Errors
    /// When the number of bytes is not `height · width · 3`, or 0.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self> {
        Rgb::new(width, height, &pixels)?;
        Ok(Self { width, height, pixels })
    }

    /// Reads and decodes a file: PNG, JPEG, WebP, BMP, GIF (first frame) or TIFF.
    ///
    /// # Errors
    /// When the file cannot be read, is no such picture, is damaged, or is larger than the options allow.
    pub fn open(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::decode(&bytes, options).map_err(|error| error.in_file(path))
    }

    /// Decodes a file's bytes.
    ///
    /// Grey and palettes become RGB, alpha is dropped (as Pillow's `convert("RGB")`), 16-bit channels keep their
    /// upper byte.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        let expected = "a whole PNG, JPEG, WebP, BMP, GIF or TIFF picture";
        if bytes.is_empty() {
            return Err(Error::argument("picture", "an empty file", expected));
        }
        let damaged = |error: image::ImageError| Error::argument("picture", error.to_string(), expected);
        if bytes.starts_with(&JPEG_START) && !jpeg_has_end(bytes) {
            return Err(Error::argument("picture", "a JPEG without its end", expected));
        }
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let reader = reader.map_err(image::ImageError::IoError).map_err(damaged)?;
        if reader.format().is_none() {
            let (kind, found) = (PictureErrorKind::Format, "a file of another format".into());
            return Err(Error::Picture { path: None, kind, found, expected: expected.into(), source: None });
        }
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 || pixels > options.max_pixels {
            let expected = format!("1 to {} pixels", options.max_pixels);
            return Err(Error::argument("picture", format!("{width}×{height} pixels"), expected));
        }
        // 16 bytes a pixel hold any format; the decoder's own buffers come on top.
        let mut limits = Limits::default();
        limits.max_alloc = Some(pixels.saturating_mul(32).max(1 << 28));
        decoder.set_limits(limits).map_err(damaged)?;
        let orientation = decoder.orientation().map_err(damaged)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        if options.exif_rotation {
            image.apply_orientation(orientation);
        }
        Self::new(image.width(), image.height(), into_rgb8(image))
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The picture as the kernels take it.
    pub fn as_rgb(&self) -> Rgb<'_> {
        Rgb::new(self.width, self.height, &self.pixels).expect("checked when the picture was made")
    }
}

/// JPEG's start-of-image marker and the first byte of the next one.
const JPEG_START: [u8; 3] = [0xff, 0xd8, 0xff];

/// Whether an end-of-image marker follows the last start of a scan: the decoder would fill the missing part with grey.
/// Inside a scan the bytes of a marker cannot occur (ITU-T T.81, B.1.1.5), and a thumbnail's end comes before the scan.
fn jpeg_has_end(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xff, marker]);
    last(0xd9) > last(0xda)
}

/// Drops alpha, spreads grey, keeps the upper byte of 16-bit channels.
fn into_rgb8(image: DynamicImage) -> Vec<u8> {
    fn convert<T: Copy>(samples: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
        let colour = if channels >= 3 { [0, 1, 2] } else { [0; 3] };
        samples.chunks_exact(channels).flat_map(|pixel| colour.map(|c| byte(pixel[c]))).collect()
    }
    let upper = |sample: u16| (sample >> 8) as u8;
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => convert(&image, 1, |v| v),
        DynamicImage::ImageLumaA8(image) => convert(&image, 2, |v| v),
        DynamicImage::ImageRgba8(image) => convert(&image, 4, |v| v),
        DynamicImage::ImageLuma16(image) => convert(&image, 1, upper),
        DynamicImage::ImageLumaA16(image) => convert(&image, 2, upper),
        DynamicImage::ImageRgb16(image) => convert(&image, 3, upper),
        DynamicImage::ImageRgba16(image) => convert(&image, 4, upper),
        other => other.into_rgb8().into_raw(),
    }
}
