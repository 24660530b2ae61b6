//! PNG, row by row: a file that ends behind its last row is whole.

use super::fault::{check_size, decoder_fault, fault, memory_limit};
use super::orientation::orientation;
use super::rgb::{narrow, spread};
use crate::error::{Error, PictureErrorKind, Result};
use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use png::{BitDepth, Decoder, DecodingError, InterlaceInfo, Limits, Transformations};
use std::io::Cursor;

/// Adam7's passes: first column, first row, and step between rows (PNG Specification, 8.2).
const PASSES: [(u32, u32, u32); 7] = [(0, 0, 8), (4, 0, 8), (0, 4, 8), (2, 0, 4), (0, 2, 4), (1, 0, 2), (0, 1, 2)];

/// The picture (the default image of an animation), and how it is to be turned.
///
/// # Errors
/// When rows are missing or damaged, or there are more than `max_pixels`.
pub(super) fn decode(file: &[u8], max_pixels: u64) -> Result<(DynamicImage, Orientation)> {
    let limits = Limits { bytes: memory_limit(max_pixels) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(refused)?;
    let (width, height) = reader.info().size();
    check_size((width, height), max_pixels)?;

    let (color, depth) = reader.output_color_type();
    let mut samples = vec![0; reader.output_buffer_size().ok_or_else(|| refused(DecodingError::LimitsExceeded))?];
    let row_bytes = samples.len() / height as usize;
    let fewer = || fault(PictureErrorKind::Truncated, "a PNG of fewer rows than its header says");
    if reader.info().interlaced {
        let pass_rows = |&(column, row, step): &(u32, u32, u32)| match width > column {
            true => height.saturating_sub(row).div_ceil(step),
            false => 0,
        };
        for _ in 0..PASSES.iter().map(pass_rows).sum() {
            let row = reader.next_interlaced_row().map_err(refused)?.ok_or_else(fewer)?;
            let InterlaceInfo::Adam7(place) = row.interlace() else { return Err(fewer()) };
            let bits = color.samples() as u8 * depth as u8;
            png::expand_interlaced_row(&mut samples, row_bytes, row.data(), place, bits);
        }
    } else {
        for row in samples.chunks_exact_mut(row_bytes) {
            reader.read_row(row).map_err(refused)?.ok_or_else(fewer)?;
        }
    }
    // Reads the checksum behind the rows; it may be cut off, but not from a file that has its IEND chunk.
    match reader.next_row() {
        Err(DecodingError::IoError(_)) if !file.ends_with(b"IEND\xae\x42\x60\x82") => {}
        checked => _ = checked.map_err(refused)?,
    }
    // Reads metadata behind the rows; faults in them do not matter.
    _ = reader.finish();
    let xmp = reader.info().utf8_text.iter().find(|text| text.keyword == "XML:com.adobe.xmp").cloned();
    // `decompress_text` has a size limit, which `get_text` alone has not.
    let xmp = xmp.and_then(|mut text| text.decompress_text().and_then(|()| text.get_text()).ok());
    let turn = orientation(reader.info().exif_metadata.as_deref(), xmp.as_deref().map(str::as_bytes));

    let channels = color.samples();
    if depth == BitDepth::Sixteen {
        let wide: Vec<u16> = samples.as_chunks().0.iter().map(|&sample| u16::from_be_bytes(sample)).collect();
        samples = narrow(&wide, channels);
    }
    let image = RgbImage::from_raw(width, height, spread(samples, channels)).ok_or_else(fewer)?;
    Ok((image.into(), turn))
}

/// Wraps the decoder's error; an I/O error inside it is taken out, since its `source` does not give it.
fn refused(error: DecodingError) -> Error {
    match error {
        DecodingError::IoError(error) => decoder_fault(error),
        other => decoder_fault(other),
    }
}
