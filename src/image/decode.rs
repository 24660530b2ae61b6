//! From a file's bytes to RGB.

use super::fault::{check_size, decoder_fault, decoder_panicked, fault, memory_limit};
use super::file::read_file;
use super::format::recognise;
use super::orientation::orientation;
use super::rgb::{into_rgb8, whiten};
use super::{jpeg, png, tiff};
use crate::backend::Rgb;
use crate::error::{Error, PictureErrorKind, Result};
use crate::options::with_fields;
use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbImage};
use std::io::Cursor;
use std::panic::catch_unwind;
use std::path::Path;

/// How pictures are decoded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DecodeOptions {
    /// Turn the picture as its EXIF or XMP orientation says.
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

with_fields!(DecodeOptions: with_exif_rotation(exif_rotation: bool), with_max_pixels(max_pixels: u64));

impl DecodeOptions {
    /// The most bytes that a picture's file may have: 8 for each of [`DecodeOptions::max_pixels`], enough for
    /// uncompressed 16-bit RGBA, and 64 MiB for metadata.
    pub fn max_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(8).saturating_add(64 << 20)
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

    /// Reads and decodes a file: PNG, JPEG, WebP, BMP, GIF or TIFF, as [`Picture::decode`] says.
    ///
    /// # Errors
    /// When the file cannot be read, is neither a regular file nor a pipe, or has more than [`DecodeOptions::max_bytes`], and
    /// as [`Picture::decode`].
    pub fn open(path: impl AsRef<Path>, options: &DecodeOptions) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_file(path, options)?;
        Self::decode(&bytes, options).map_err(|error| error.in_file(path))
    }

    /// Decodes a file's bytes.
    ///
    /// * The format is told by the content alone. Formats that are not decoded (HEIC, AVIF, PDF …) are named.
    /// * Of several pictures in a file, the first is decoded.
    /// * Grey and palettes become RGB; CMYK and YCbCr are converted without colour profiles.
    /// * Alpha is dropped as by Pillow's `convert("RGB")`. In a GIF, transparent pixels, and those that the first frame
    ///   does not cover, are white.
    /// * 16-bit channels keep their upper byte; 16-bit grey that nowhere exceeds 255 is kept as it is. Float samples are
    ///   refused.
    /// * The picture is turned by the orientation, 1 to 8, of its EXIF data (of several EXIF segments in a JPEG, the last
    ///   counts; in a TIFF, of the tag itself), or of its XMP data where EXIF has none.
    /// * A picture of which data are missing is refused. A missing end marker alone is no fault: a JPEG may end behind its
    ///   last coefficient, a PNG behind its last row, a GIF behind its first frame. What comes after the end does not
    ///   count.
    ///
    /// # Errors
    /// [`Error::Picture`](crate::Error::Picture), whose kind says whether the file is no such picture, is cut, is damaged
    /// or of a variant that is not decoded, or has no pixels or more than the options allow.
    pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Self> {
        // The decoders index slices by what they read, and some check with `assert!` (tiff's `expand_chunk`): a panic of
        // theirs is one damaged picture, not the end of a run over thousands.
        let decoded = catch_unwind(|| {
            let (mut image, orientation) = decode_as(recognise(bytes)?, bytes, options.max_pixels)?;
            if options.exif_rotation {
                image.apply_orientation(orientation);
            }
            Self::try_from(image)
        });
        decoded.unwrap_or_else(|_| Err(decoder_panicked()))
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

impl TryFrom<RgbImage> for Picture {
    type Error = Error;

    /// A picture of the crate `image`, without a copy.
    ///
    /// # Errors
    /// When it has no pixels.
    fn try_from(image: RgbImage) -> Result<Self> {
        Self::new(image.width(), image.height(), image.into_raw())
    }
}

impl TryFrom<DynamicImage> for Picture {
    type Error = Error;

    /// A picture of the crate `image` in any layout: alpha is dropped, other samples are narrowed as that crate does.
    ///
    /// # Errors
    /// When it has no pixels.
    fn try_from(image: DynamicImage) -> Result<Self> {
        Self::new(image.width(), image.height(), into_rgb8(image))
    }
}

/// The bytes of the decoded picture, as the file's header says; 0 for what will be refused.
pub(crate) fn decoded_bytes(bytes: &[u8], options: &DecodeOptions) -> usize {
    let size = match recognise(bytes) {
        Ok(ImageFormat::Tiff) => tiff::size(bytes),
        Ok(format) => ImageReader::with_format(Cursor::new(bytes), format).into_dimensions().ok(),
        Err(_) => None,
    };
    let pixels = size.filter(|&size| check_size(size, options.max_pixels).is_ok());
    pixels.map_or(0, |(width, height)| usize::try_from(u64::from(width) * u64::from(height) * 3).unwrap_or(usize::MAX))
}

/// The picture as its decoder gives it, and how it is to be turned.
fn decode_as(format: ImageFormat, bytes: &[u8], max_pixels: u64) -> Result<(DynamicImage, Orientation)> {
    match format {
        ImageFormat::Tiff => tiff::decode(bytes, max_pixels),
        ImageFormat::Jpeg => {
            let (picture, turn) = jpeg::whole(bytes, max_pixels)?;
            let decoder = JpegDecoder::new(Cursor::new(picture)).map_err(decoder_fault)?;
            Ok((pixels(decoder, max_pixels)?, turn))
        }
        ImageFormat::Png => png::decode(bytes, max_pixels),
        // The decoder silently reads zeros behind the end of the data.
        ImageFormat::WebP if webp_length(bytes) > bytes.len() as u64 => {
            Err(fault(PictureErrorKind::Truncated, "a WebP shorter than its header says"))
        }
        ImageFormat::WebP => read(WebPDecoder::new(Cursor::new(bytes)), max_pixels),
        ImageFormat::Bmp => read(BmpDecoder::new(Cursor::new(bytes)), max_pixels),
        _ => {
            let (mut image, orientation) = read(GifDecoder::new(Cursor::new(bytes)), max_pixels)?;
            whiten(&mut image);
            Ok((image, orientation))
        }
    }
}

/// The file's length by its RIFF header.
fn webp_length(bytes: &[u8]) -> u64 {
    8 + bytes[4..8].iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte))
}

/// Reads metadata and pixels.
fn read(decoder: ImageResult<impl ImageDecoder>, max_pixels: u64) -> Result<(DynamicImage, Orientation)> {
    let mut decoder = decoder.map_err(decoder_fault)?;
    let (exif, xmp) = (decoder.exif_metadata().ok().flatten(), decoder.xmp_metadata().ok().flatten());
    Ok((pixels(decoder, max_pixels)?, orientation(exif.as_deref(), xmp.as_deref())))
}

/// Reads the pixels, if they are no more than `max_pixels`.
fn pixels(mut decoder: impl ImageDecoder, max_pixels: u64) -> Result<DynamicImage> {
    let (width, height) = decoder.dimensions();
    check_size((width, height), max_pixels)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(memory_limit(u64::from(width) * u64::from(height)) as u64);
    decoder.set_limits(limits).map_err(decoder_fault)?;
    DynamicImage::from_decoder(decoder).map_err(decoder_fault)
}
