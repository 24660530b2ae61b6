//! Finds where a JPEG ends, and checks that all of it is there (ITU-T T.81).
//!
//! The decoder silently fills with grey what is missing, whether the file ends early or an end marker comes too soon;
//! only the number of blocks in the scans tells. So before decoding, the markers are followed from the start, and the
//! entropy-coded data of every scan are walked, block by block, without computing a pixel.
//!
//! ```text
//! SOI │ APP1        │ SOF        │ DHT     │ SOS                │ blocks, RSTn │ DHT, SOS, blocks … │ EOI │ other data
//!     │ orientation │ components │ Huffman │ components, range  │ walked, not  │ more scans         │     │ dropped
//!     │             │            │ codes   │ and bits of a scan │ decoded      │                    │     │
//! ```
//!
//! The picture ends with the last bit of its last coefficient, or with an end marker once all that was begun is
//! complete; anything behind that does not belong to it.

mod huffman;
mod scan;

use super::fault::{check_size, fault};
use super::orientation::orientation;
use crate::error::{PictureErrorKind, Result};
use ::image::metadata::Orientation;
use huffman::{Huffman, next_marker};
use scan::Scan;

/// End of image.
const EOI: u8 = 0xd9;
/// What the segments of metadata start with (EXIF 2.32, 4.7.2; XMP Specification Part 3, 1.1.3).
const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// The most scans, as in the decoder: more are an attack on its time.
const MAX_SCANS: usize = 100;

/// A frame: what its header tells, and what the scans so far have brought.
struct Frame {
    progressive: bool,
    width: u32,
    height: u32,
    /// Where in the file the height stands.
    height_at: usize,
    components: Vec<Component>,
}

/// A colour component.
struct Component {
    id: u8,
    /// Sampling factors.
    horizontal: u32,
    vertical: u32,
    /// Blocks of 8 × 8 samples, across and down.
    blocks: (u32, u32),
    /// Blocks from one row to the next, padded to whole MCUs.
    stride: u32,
    /// For each block, a bit mask of the coefficients that are not zero so far; progressive frames only.
    nonzero: Vec<u64>,
    /// For each coefficient, in zigzag order, which bits are still to come.
    pending: [Pending; 64],
}

/// The bits of a coefficient that are still to come; `Low`: those that its first scan left to refinement scans.
#[derive(Clone, Copy, PartialEq)]
enum Pending {
    All,
    Low,
    None,
}

fn truncated(found: &str) -> crate::Error {
    fault(PictureErrorKind::Truncated, format!("a JPEG {found}"))
}

fn damaged(found: &str) -> crate::Error {
    fault(PictureErrorKind::Damaged, format!("a JPEG {found}"))
}

/// Checks that all data of the picture are there; returns its bytes alone, closed by an end marker, and how it is to be
/// turned.
///
/// # Errors
/// When data are missing, a segment cannot be followed, the kind of JPEG is not decoded, or it has more than
/// `max_pixels`.
pub(super) fn whole(file: &[u8], max_pixels: u64) -> Result<(Vec<u8>, Orientation)> {
    let mut frame: Option<Frame> = None;
    let mut tables: [[Option<Huffman>; 4]; 2] = Default::default();
    let (mut exif, mut xmp) = (None, None);
    let (mut restart, mut scans) = (0, 0);
    let mut at = 2;
    let end = loop {
        let marker = next_marker(file, &mut at).ok_or_else(|| truncated("without its end"))?;
        match marker {
            EOI if frame.as_ref().is_some_and(Frame::may_end) => break at - 2,
            EOI | 0xd8 => return Err(truncated("that ends before its last scan")),
            // Markers without a segment: TEM and restarts.
            0x01 | 0xd0..=0xd7 => continue,
            _ => {}
        }
        let start = at + 2;
        let segment = segment(file, &mut at)?;
        match marker {
            0xc0..=0xc2 if frame.is_some() => return Err(damaged("with two frames")),
            0xc0..=0xc2 => frame = Some(Frame::new(segment, start, marker == 0xc2)?),
            0xc4 => huffman_tables(segment, &mut tables)?,
            0xe1 if segment.starts_with(EXIF) => exif = Some(segment),
            0xe1 => xmp = segment.strip_prefix(XMP).or(xmp),
            0xdd => restart = number(segment)?,
            0xda => {
                scans += 1;
                let frame = frame.as_mut().ok_or_else(|| damaged("with a scan before its frame"))?;
                if scans > MAX_SCANS {
                    return Err(damaged(&format!("with more than {MAX_SCANS} scans")));
                }
                if scans == 1 {
                    frame.lay_out(&file[at..], max_pixels)?;
                }
                at += Scan::new(segment, frame, &tables, restart)?.walk(&file[at..])?;
                if frame.is_complete() {
                    break at;
                }
            }
            _ => {
                if let Some(kind) = not_decoded(marker) {
                    return Err(damaged(kind));
                }
            }
        }
    };
    let mut picture = file[..end].to_vec();
    if let Some(frame) = frame {
        picture[frame.height_at..][..2].copy_from_slice(&(frame.height as u16).to_be_bytes());
    }
    picture.extend([0xff, EOI]);
    Ok((picture, orientation(exif, xmp)))
}

/// Names the kind of a frame that the decoder does not know, by its marker (T.81, table B.1).
fn not_decoded(marker: u8) -> Option<&'static str> {
    Some(match marker {
        0xc3 => "with lossless coding",
        0xc5..=0xc7 => "with hierarchical coding",
        0xc9..=0xcb | 0xcd..=0xcf => "with arithmetic coding",
        0xf7 => "of the kind JPEG-LS",
        _ => return None,
    })
}

/// The segment's content; `at` is moved behind it.
fn segment<'a>(file: &'a [u8], at: &mut usize) -> Result<&'a [u8]> {
    let cut = || truncated("that ends in the middle of a segment");
    let length = file.get(*at..*at + 2).ok_or_else(cut)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let content = length.checked_sub(2).ok_or_else(|| damaged("with a segment shorter than its length"))?;
    let content = file.get(*at + 2..*at + 2 + content).ok_or_else(cut)?;
    *at += length;
    Ok(content)
}

/// Reads a segment that is one number: a restart interval or a height.
fn number(segment: &[u8]) -> Result<u32> {
    let bytes = segment.try_into().map_err(|_| damaged("with a segment of another length than its kind has"))?;
    Ok(u16::from_be_bytes(bytes).into())
}

/// Reads a segment of Huffman tables (B.2.4.2), DC's into the first list, AC's into the second.
fn huffman_tables(mut segment: &[u8], tables: &mut [[Option<Huffman>; 4]; 2]) -> Result<()> {
    let wrong = || damaged("with a damaged Huffman table");
    while let Some((&place, rest)) = segment.split_first() {
        let (counts, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let values = counts.iter().map(|&count| usize::from(count)).sum();
        let (values, rest) = rest.split_at_checked(values).ok_or_else(wrong)?;
        let table = tables.get_mut(usize::from(place >> 4)).and_then(|class| class.get_mut(usize::from(place & 15)));
        *table.ok_or_else(wrong)? = Some(Huffman::new(counts, values).ok_or_else(wrong)?);
        segment = rest;
    }
    Ok(())
}

impl Frame {
    /// Reads a frame header (B.2.2); its content starts at `start` in the file.
    fn new(segment: &[u8], start: usize, progressive: bool) -> Result<Self> {
        let wrong = || damaged("with a damaged frame header");
        let (&[precision, h1, h0, w1, w0, count], rest) = segment.split_first_chunk().ok_or_else(wrong)?;
        if precision != 8 {
            return Err(damaged(&format!("of {precision} bits")));
        }
        let parse = |&[id, sampling, _]: &[u8; 3]| {
            let (horizontal, vertical) = (u32::from(sampling >> 4), u32::from(sampling & 15));
            if !(1..=4).contains(&horizontal) || !(1..=4).contains(&vertical) {
                return Err(wrong());
            }
            let pending = [Pending::All; 64];
            Ok(Component { id, horizontal, vertical, blocks: (0, 0), stride: 0, nonzero: Vec::new(), pending })
        };
        let components: Vec<_> = rest.as_chunks().0.iter().map(parse).collect::<Result<_>>()?;
        if components.len() != usize::from(count) || !(1..=4).contains(&components.len()) {
            return Err(wrong());
        }
        let [width, height] = [[w1, w0], [h1, h0]].map(|side| u32::from(u16::from_be_bytes(side)));
        Ok(Self { progressive, width, height, height_at: start + 1, components })
    }

    /// MCUs across and down, of scans with several components (A.2.4).
    fn mcus(&self) -> (u32, u32) {
        let (horizontal, vertical) = self.sampling();
        (self.width.div_ceil(8 * horizontal), self.height.div_ceil(8 * vertical))
    }

    /// The largest sampling factors.
    fn sampling(&self) -> (u32, u32) {
        let most = |factor: fn(&Component) -> u32| self.components.iter().map(factor).max().unwrap_or(1);
        (most(|component| component.horizontal), most(|component| component.vertical))
    }

    /// Counts the blocks, before the first scan. A height that the header lacks stands behind that scan's `data` (DNL,
    /// B.2.5).
    fn lay_out(&mut self, data: &[u8], max_pixels: u64) -> Result<()> {
        if self.height == 0 {
            let mut at = 0;
            while let Some(marker @ 0xd0..=0xd7 | marker @ 0xdc) = next_marker(data, &mut at) {
                if marker == 0xdc {
                    self.height = number(segment(data, &mut at)?)?;
                    break;
                }
            }
        }
        check_size((self.width, self.height), max_pixels)?;
        let ((most_h, most_v), mcus) = (self.sampling(), self.mcus());
        for component in &mut self.components {
            let blocks = |side: u32, factor: u32, most: u32| (side * factor).div_ceil(most).div_ceil(8);
            component.blocks =
                (blocks(self.width, component.horizontal, most_h), blocks(self.height, component.vertical, most_v));
            component.stride = mcus.0 * component.horizontal;
            if self.progressive {
                component.nonzero = vec![0; (component.stride * mcus.1 * component.vertical) as usize];
            }
        }
        Ok(())
    }

    /// Whether every bit of every coefficient has come.
    fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.pending == [Pending::None; 64])
    }

    /// Whether an end marker may stand here: each component has its whole DC coefficients, and no AC coefficient waits
    /// for its low bits. Those that no scan brought are zero (G.1.1.1.1).
    fn may_end(&self) -> bool {
        let begun =
            |component: &Component| component.pending[0] == Pending::None && !component.pending.contains(&Pending::Low);
        self.components.iter().all(begun)
    }
}
