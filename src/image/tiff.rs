//! TIFF and BigTIFF (TIFF Revision 6.0).

use super::fault::{check_size, decoder_fault, fault, memory_limit};
use super::orientation::{from_number, orientation};
use super::rgb::{narrow, spread};
use crate::error::{Error, PictureErrorKind, Result};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use std::io::Cursor;
use tiff::ColorType;
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{
    ByteOrder, CompressionMethod, ExtraSamples, PhotometricInterpretation as Photometric, SampleFormat, Tag, Type,
};

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// Bit 0 of NewSubfileType: a reduced version of another picture in the file.
const REDUCED: u64 = 1;
const YCBCR_COEFFICIENTS: Tag = Tag::Unknown(529);
const REFERENCE_BLACK_WHITE: Tag = Tag::Unknown(532);
/// XMP Specification Part 3, 3.3.2.
const XMP: Tag = Tag::Unknown(700);

/// The fault of a TIFF whose kind is not decoded.
fn unknown(kind: impl std::fmt::Display) -> Error {
    fault(PictureErrorKind::Damaged, format!("a TIFF {kind}"))
}

/// The size of the first picture.
pub(super) fn size(file: &[u8]) -> Option<(u32, u32)> {
    open(file).ok()?.dimensions().ok()
}

/// The first picture of the file, and how it is to be turned.
///
/// # Errors
/// When it is damaged, larger than `max_pixels`, or of a kind that is not decoded.
pub(super) fn decode(file: &[u8], max_pixels: u64) -> Result<(DynamicImage, Orientation)> {
    let mut reader = open(file)?;
    let photometric = first(&mut reader, Tag::PhotometricInterpretation)?;
    let photometric = photometric.and_then(|number| Photometric::from_u16(number as u16));
    let palette = match photometric {
        Some(Photometric::RGBPalette) => Some(reader.get_tag_u16_vec(Tag::ColorMap).map_err(decoder_fault)?),
        _ => None,
    };
    let inverted = photometric == Some(Photometric::WhiteIsZero);
    // The decoder does not know palettes, nor inverts grey with alpha: it reads the samples as grey, to convert here.
    let grey;
    if palette.is_some() || inverted {
        grey = as_grey(file, &mut reader).ok_or_else(|| unknown("with a damaged directory"))?;
        reader = open(&grey)?;
    }
    let size = reader.dimensions().map_err(decoder_fault)?;
    check_size(size, max_pixels)?;
    check_kind(&mut reader, file.len() as u64)?;
    let associated = first(&mut reader, Tag::ExtraSamples)? == Some(ExtraSamples::AssociatedAlpha.to_u16().into());
    let turn = turn(&mut reader);

    let mut limits = Limits::default();
    limits.decoding_buffer_size = memory_limit(u64::from(size.0) * u64::from(size.1));
    limits.intermediate_buffer_size = limits.decoding_buffer_size;
    let mut reader = reader.with_limits(limits);
    let color = reader.colortype().map_err(decoder_fault)?;
    let (channels, bits) = (usize::from(color.num_samples()), usize::from(color.bit_depth()));
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = reader.read_image_to_buffer(&mut samples).map_err(decoder_fault)?;
    // In planar layout each plane is a picture of one channel.
    let planes = if layout.planes > 1 { channels } else { 1 };
    let mut samples = match samples {
        DecodingResult::U8(samples) if bits < 8 => {
            let row = size.0 as usize * channels / planes;
            interleave(unpack(&samples, row, bits, palette.is_none()), planes)
        }
        DecodingResult::U8(samples) => interleave(samples, planes),
        DecodingResult::U16(samples) if palette.is_none() => narrow(&interleave(samples, planes), channels),
        _ => return Err(unknown(format!("with samples of {bits} bits"))),
    };
    if inverted {
        samples.iter_mut().for_each(|sample| *sample = !*sample);
    }
    let pixels = match (color, palette) {
        (ColorType::Multiband { num_samples: 3.., .. }, _) => {
            return Err(unknown(format!("with {channels} bands that are no colours")));
        }
        (_, Some(palette)) => colour_mapped(&samples, channels, &narrow(&palette, 1), bits)?,
        (ColorType::RGBA(_), _) if associated => samples.as_chunks().0.iter().flat_map(divided).collect(),
        (ColorType::CMYK(_) | ColorType::CMYKA(_), _) => samples.chunks_exact(channels).flat_map(cmyk).collect(),
        (ColorType::YCbCr(_), _) => samples.as_chunks().0.iter().flat_map(ycbcr).collect(),
        _ => spread(samples, channels),
    };
    let image = RgbImage::from_raw(size.0, size.1, pixels).ok_or_else(|| unknown("without all of its samples"))?;
    Ok((image.into(), turn))
}

fn open(file: &[u8]) -> Result<Reader<'_>> {
    Decoder::new(Cursor::new(file)).map_err(decoder_fault)
}

/// A tag's first number.
fn first(reader: &mut Reader<'_>, tag: Tag) -> Result<Option<u64>> {
    let numbers: Option<Vec<u64>> = reader.find_tag_unsigned_vec(tag).map_err(decoder_fault)?;
    Ok(numbers.and_then(|numbers| numbers.first().copied()))
}

/// A copy of the file whose first directory says that black is 0. `None` where the directory is not inside the file.
fn as_grey(file: &[u8], reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let order = reader.byte_order();
    let short = |number: u16| match order {
        ByteOrder::LittleEndian => number.to_le_bytes(),
        ByteOrder::BigEndian => number.to_be_bytes(),
    };
    // Bytes before the first entry, in an entry, and in an entry before its value: of a BigTIFF (version 43), of a
    // TIFF.
    let (head, length, value) = if file.get(2..4)? == short(43) { (8, 20, 12) } else { (2, 12, 8) };
    let directory = usize::try_from(reader.ifd_pointer()?.0).ok()?.checked_add(head)?;
    let mut entries = file.get(directory..)?.chunks_exact(length);
    let entry = entries.position(|entry| entry[..2] == short(Tag::PhotometricInterpretation.to_u16()))?;
    let mut grey = file.to_vec();
    let entry = &mut grey[directory + entry * length..][..length];
    entry[2..4].copy_from_slice(&short(Type::SHORT.to_u16()));
    entry[value..value + 2].copy_from_slice(&short(Photometric::BlackIsZero.to_u16()));
    Some(grey)
}

/// Refuses what the decoder would misread, since it ignores some of these tags.
fn check_kind(reader: &mut Reader<'_>, length: u64) -> Result<()> {
    if first(reader, Tag::NewSubfileType)?.unwrap_or(0) & REDUCED != 0 {
        return Err(unknown("whose first picture is a preview (camera raw)"));
    }
    let format = first(reader, Tag::SampleFormat)?.map(|format| SampleFormat::from_u16_exhaustive(format as u16));
    match format {
        None | Some(SampleFormat::Uint | SampleFormat::Void) => {}
        Some(SampleFormat::IEEEFP) => return Err(unknown("with float samples")),
        Some(SampleFormat::Int) => return Err(unknown("with signed samples")),
        Some(other) => return Err(unknown(format!("with samples of the format {other:?}"))),
    }
    let color = reader.colortype().map_err(decoder_fault)?;
    let samples = first(reader, Tag::SamplesPerPixel)?.unwrap_or(1);
    if samples > color.num_samples().into() && first(reader, Tag::Predictor)?.unwrap_or(1) > 1 {
        return Err(unknown("with a predictor and unknown extra samples"));
    }
    if matches!(color, ColorType::YCbCr(_)) {
        // The defaults (sections 21 and 20), which are JFIF's and those of every writer of 8-bit samples.
        let defaults: [(Tag, &[f64]); 2] = [
            (YCBCR_COEFFICIENTS, &[0.299, 0.587, 0.114]),
            (REFERENCE_BLACK_WHITE, &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
        ];
        for (tag, default) in defaults {
            let Some(value) = reader.find_tag(tag).map_err(decoder_fault)? else { continue };
            let found = rationals(value);
            if found.len() != default.len() || found.iter().zip(default).any(|(a, b)| (a - b).abs() > 1e-3) {
                return Err(unknown(format!("with YCbCr of other coefficients: {found:?}")));
            }
        }
    }
    // The JPEG decoder fills with grey what is missing.
    if first(reader, Tag::Compression)? == Some(CompressionMethod::ModernJPEG.to_u16().into()) {
        for (offsets, counts) in [(Tag::StripOffsets, Tag::StripByteCounts), (Tag::TileOffsets, Tag::TileByteCounts)] {
            let mut list =
                |tag| reader.find_tag_unsigned_vec(tag).map_err(decoder_fault).map(Option::unwrap_or_default);
            let (offsets, counts): (Vec<u64>, Vec<u64>) = (list(offsets)?, list(counts)?);
            if offsets.iter().zip(&counts).any(|(offset, count)| offset.saturating_add(*count) > length) {
                return Err(fault(PictureErrorKind::Truncated, "a TIFF that ends before its last strip"));
            }
        }
    }
    Ok(())
}

fn rationals(value: Value) -> Vec<f64> {
    let values = if let Value::List(values) = value { values } else { vec![value] };
    let parse = |value| match value {
        Value::Rational(n, d) => f64::from(n) / f64::from(d),
        Value::Unsigned(n) => n.into(),
        Value::Short(n) => n.into(),
        _ => f64::NAN,
    };
    values.into_iter().map(parse).collect()
}

/// The orientation by its own tag or by XMP.
fn turn(reader: &mut Reader<'_>) -> Orientation {
    let own = first(reader, Tag::Orientation).ok().flatten().and_then(|number| from_number(number as u32));
    own.unwrap_or_else(|| orientation(None, reader.get_tag_u8_vec(XMP).ok().as_deref()))
}

/// Unpacks samples of fewer than 8 bits, whose rows start at whole bytes; `scaled` maps them to 0 to 255.
fn unpack(packed: &[u8], row: usize, bits: usize, scaled: bool) -> Vec<u8> {
    let most = (1 << bits) - 1;
    let unpack_row = |bytes: &[u8]| -> Vec<u8> {
        let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let sample = |i: usize| (i * bits..(i + 1) * bits).fold(0, |sample, at| sample << 1 | bit(at));
        (0..row).map(|i| if scaled { sample(i) * 255 / most } else { sample(i) } as u8).collect()
    };
    packed.chunks_exact((row * bits).div_ceil(8)).flat_map(unpack_row).collect()
}

/// Turns planes into interleaved pixels.
fn interleave<T: Copy>(samples: Vec<T>, planes: usize) -> Vec<T> {
    if planes == 1 {
        return samples;
    }
    let pixels = samples.len() / planes;
    (0..pixels).flat_map(|pixel| samples.iter().skip(pixel).step_by(pixels).take(planes).copied()).collect()
}

/// Looks colours up in a palette, which has all reds, then all greens, then all blues.
fn colour_mapped(indices: &[u8], channels: usize, map: &[u8], bits: usize) -> Result<Vec<u8>> {
    if map.len() != 3 << bits {
        return Err(unknown(format!("with a palette of {} numbers for {bits} bits", map.len())));
    }
    let colour = |pixel: &[u8]| [0, 1, 2].map(|channel| map[(channel << bits) + usize::from(pixel[0])]);
    Ok(indices.chunks_exact(channels).flat_map(colour).collect())
}

/// Divides premultiplied colours by their alpha, as Pillow's `unpackRGBa`.
fn divided(&[r, g, b, alpha]: &[u8; 4]) -> [u8; 3] {
    let divide = |colour: u8| u32::from(colour) * 255 / u32::from(alpha);
    [r, g, b].map(|colour| if alpha == 0 { 0 } else { divide(colour).min(255) as u8 })
}

/// As Pillow's `cmyk2rgb`.
fn cmyk(pixel: &[u8]) -> [u8; 3] {
    let white = 255 - i32::from(pixel[3]);
    [0, 1, 2].map(|channel| {
        // The product divided by 255, rounded.
        let product = i32::from(pixel[channel]) * white + 128;
        (white - (((product >> 8) + product) >> 8)).clamp(0, 255) as u8
    })
}

/// Full-range YCbCr (JFIF 1.02, "Conversion to and from RGB").
fn ycbcr(&[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0];
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(|colour| colour.round() as u8)
}
