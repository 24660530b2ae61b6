//! `crop_resize`: cut, resample, normalise and patchify.
//!
//! The horizontal pass works on bands of 16 rows, transposed so that 16 rows lie side by side: every pair of taps is then
//! one pair of weights times 16 pairs of neighbouring pixels, without a shuffle. Its bytes are transposed back, and the
//! vertical pass weighs pairs of rows. A weight of 22 bits is two digits, each a 16-bit integer, and the products of a
//! pair are summed by one instruction. Integer sums, so every level gives the same bytes as Pillow.

use super::Cpu;
use super::simd::{Kernel, Simd};
use crate::backend::{CropOutput, CropPlan, CropView, HostTensor, PRECISION_BITS, PatchLayout, Rgb, Taps, contract};
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a band, and bytes of a transposed square's side.
const BAND: usize = 16;
/// Bytes that the vertical pass sums at a time; rows of the middle picture are padded to them.
const BLOCK: usize = 2 * BAND;
/// Bits of a weight's lower digit. Both fit 16 bits, for weights stay below 2²⁷.
pub(super) const DIGIT_BITS: u32 = 12;
/// What rounds: half of one, as Pillow adds it.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

pub(super) fn run(
    cpu: &Cpu,
    picture: Rgb<'_>,
    plan: &CropPlan,
    views: Range<usize>,
    output: CropOutput<'_, HostTensor>,
) -> Result<()> {
    contract::crop_resize(picture, plan, &views, &output)?;
    let size = plan.size() as usize;
    let views = &plan.views()[views];
    let one = |scratch: &mut Scratch, view: &CropView, store: Store<'_>| {
        cpu.level.dispatch(OneView { picture, plan, view, store, scratch });
    };
    cpu.install(|| match output {
        CropOutput::Bytes(bytes) => bytes
            .par_chunks_exact_mut((size * size * 3).max(1))
            .zip(views)
            .for_each_init(Scratch::default, |scratch, (out, view)| one(scratch, view, Store::Bytes(out))),
        CropOutput::Patches { layout, first_row, out } => {
            let elements = size * size * 3;
            out.data_mut()[first_row * 3 * (layout.patch() as usize).pow(2)..]
                .par_chunks_exact_mut(elements.max(1))
                .zip(views)
                .for_each_init(Scratch::default, |scratch, (out, view)| {
                    one(scratch, view, Store::Patches { layout, out });
                });
        }
    });
    Ok(())
}

/// What a thread keeps between views.
#[derive(Default)]
struct Scratch {
    /// The weights of both passes.
    horizontal: Digits,
    vertical: Digits,
    /// A band of the crop, transposed, as pairs of pixels: for each pair and channel, 16 rows' words of two 16-bit
    /// integers.
    pairs: Vec<[[i32; BAND]; 3]>,
    /// The band after the horizontal pass, still transposed: 16 rows for each byte column.
    resampled: Vec<[u8; BAND]>,
    /// All rows after the horizontal pass, each padded to whole blocks.
    middle: Vec<u8>,
    /// One row of the view.
    row: Vec<u8>,
}

/// Taps as pairs of weights, each pair as its upper and its lower digits: words of two 16-bit integers.
#[derive(Default)]
struct Digits {
    /// Of each output: its first input within the span, and where its pairs begin.
    outputs: Vec<(usize, usize)>,
    pairs: Vec<[i32; 2]>,
}

impl Digits {
    /// With `aligned`, each output begins at an even input; a weight that a pair lacks is 0.
    fn set(&mut self, taps: &Taps, aligned: bool) {
        let word = |first: i32, second: i32| bytemuck::cast([first as i16, second as i16]);
        let lower = |weight: i32| weight & ((1 << DIGIT_BITS) - 1);
        let span = taps.span();
        self.outputs.clear();
        self.pairs.clear();
        for i in 0..taps.len() {
            let (start, weights) = taps.get(i);
            let first = start - span.start;
            let skipped = if aligned { first % 2 } else { 0 };
            self.outputs.push((first - skipped, self.pairs.len()));
            let at = |j: usize| j.checked_sub(skipped).and_then(|j| weights.get(j)).copied().unwrap_or(0);
            for j in (0..skipped + weights.len()).step_by(2) {
                let (a, b) = (at(j), at(j + 1));
                self.pairs.push([word(a >> DIGIT_BITS, b >> DIGIT_BITS), word(lower(a), lower(b))]);
            }
        }
    }

    /// Output `i`'s first input, and its pairs.
    #[inline(always)]
    fn get(&self, i: usize) -> (usize, &[[i32; 2]]) {
        let (first, from) = self.outputs[i];
        let to = self.outputs.get(i + 1).map_or(self.pairs.len(), |&(_, to)| to);
        (first, &self.pairs[from..to])
    }
}

/// Where one view's rows go.
enum Store<'a> {
    /// `[S, S, 3]`
    Bytes(&'a mut [u8]),
    /// `[(S/P)², 3·P·P]`
    Patches { layout: &'a PatchLayout, out: &'a mut [f32] },
}

struct OneView<'a> {
    picture: Rgb<'a>,
    plan: &'a CropPlan,
    view: &'a CropView,
    store: Store<'a>,
    scratch: &'a mut Scratch,
}

impl Kernel for OneView<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { picture, plan, view, mut store, scratch } = self;
        let size = plan.size() as usize;
        let stride = (size * 3).next_multiple_of(BLOCK);
        let (horizontal, vertical) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        scratch.horizontal.set(horizontal, true);
        scratch.vertical.set(vertical, false);
        horizontal_pass(s, picture, view, horizontal.span(), vertical.span(), stride, scratch);
        let Scratch { vertical, middle, row, .. } = scratch;
        row.resize(stride, 0);
        for y in 0..size {
            let (first, pairs) = vertical.get(y);
            weigh_rows(s, &middle[first * stride..], stride, pairs, row);
            store.row(size, y, &row[..size * 3]);
        }
    }
}

impl Store<'_> {
    /// Stores row `y` of a view of `size × size`.
    #[inline(always)]
    fn row(&mut self, size: usize, y: usize, row: &[u8]) {
        match self {
            Self::Bytes(out) => out[y * row.len()..][..row.len()].copy_from_slice(row),
            Self::Patches { layout, out } => {
                let patch = layout.patch() as usize;
                let first = (y / patch) * (size / patch) * 3 * patch * patch + (y % patch) * patch;
                for (block, pixels) in row.chunks_exact(patch * 3).enumerate() {
                    for (c, table) in layout.table().iter().enumerate() {
                        let out = &mut out[first + (block * 3 + c) * patch * patch..][..patch];
                        for (out, pixel) in out.iter_mut().zip(pixels.chunks_exact(3)) {
                            *out = table[usize::from(pixel[c])];
                        }
                    }
                }
            }
        }
    }
}

/// Resamples the crop's rows into `scratch.middle`.
#[inline(always)]
fn horizontal_pass<S: Simd>(
    s: S,
    picture: Rgb<'_>,
    view: &CropView,
    columns: Range<usize>,
    rows: Range<usize>,
    stride: usize,
    scratch: &mut Scratch,
) {
    let Scratch { horizontal, pairs, resampled, middle, .. } = scratch;
    // One row more, for the second of a last pair.
    middle.resize((rows.len().next_multiple_of(BAND) + 1) * stride, 0);
    resampled.resize(stride, [0; BAND]);
    for first in (0..rows.len()).step_by(BAND) {
        // Rows beyond the last repeat it; their results are not read.
        let row = |i: usize| {
            let y = view.y as usize + rows.start + (first + i).min(rows.len() - 1);
            picture.span(view.x + columns.start as u32, y as u32, columns.len() as u32)
        };
        pair_pixels(s, row, columns.len() * 3, pairs);
        for x in 0..horizontal.outputs.len() {
            let (first, weights) = horizontal.get(x);
            weigh_pixels(s, &pairs[first / 2..], weights, &mut resampled[x * 3..x * 3 + 3]);
        }
        transpose_out(s, resampled, &mut middle[first * stride..][..BAND * stride], stride);
    }
}

/// Transposes 16 rows of `length` bytes, each pixel of even column beside its right neighbour, as 16-bit integers.
#[inline(always)]
fn pair_pixels<'a, S: Simd>(s: S, row: impl Fn(usize) -> &'a [u8], length: usize, pairs: &mut Vec<[[i32; BAND]; 3]>) {
    /// Bytes of a row that are whole pairs and whole squares.
    const CHUNK: usize = 48;
    pairs.resize(length.div_ceil(6), [[0; BAND]; 3]);
    let mut rows: [&[u8]; BAND] = [&[]; BAND];
    for (i, to) in rows.iter_mut().enumerate() {
        *to = &row(i)[..length];
    }
    let mut last = [[0; CHUNK]; BAND];
    let mut columns = [[0; BAND]; CHUNK];
    for (chunk, pairs) in pairs.chunks_mut(CHUNK / 6).enumerate() {
        let mut parts = [&[0; CHUNK]; BAND];
        for ((part, last), row) in parts.iter_mut().zip(&mut last).zip(rows) {
            let rest = &row[chunk * CHUNK..];
            *part = rest.first_chunk().unwrap_or_else(|| {
                last[..rest.len()].copy_from_slice(rest);
                last
            });
        }
        for square in 0..CHUNK / BAND {
            let mut bytes = [&[0; BAND]; BAND];
            for (to, part) in bytes.iter_mut().zip(parts) {
                *to = &part.as_chunks().0[square];
            }
            columns.as_chunks_mut().0[square] = s.transpose_bytes(bytes);
        }
        for (pair, pixels) in pairs.iter_mut().zip(columns.as_chunks::<6>().0) {
            for c in 0..3 {
                for lane in (0..BAND).step_by(S::LANES) {
                    let words = s.interleave_bytes(&pixels[c][lane..], &pixels[c + 3][lane..]);
                    s.store_i32(words, &mut pair[c][lane..]);
                }
            }
        }
    }
}

/// `clip8((2²¹ + Σ w·v) >> 22)` for 16 rows of three channels.
#[inline(always)]
fn weigh_pixels<S: Simd>(s: S, pixels: &[[[i32; BAND]; 3]], weights: &[[i32; 2]], out: &mut [[u8; BAND]]) {
    let pixels = &pixels[..weights.len()];
    // The second vector of each is not used where one holds all 16.
    let mut high = [[s.splat_i32(0); 2]; 3];
    let mut low = [[s.splat_i32(HALF); 2]; 3];
    for p in 0..weights.len() {
        let (upper, lower) = (s.splat_i32(weights[p][0]), s.splat_i32(weights[p][1]));
        for c in 0..3 {
            for v in 0..BAND / S::LANES {
                let words = s.load_i32(&pixels[p][c][v * S::LANES..]);
                high[c][v] = s.dot_words(words, upper, high[c][v]);
                low[c][v] = s.dot_words(words, lower, low[c][v]);
            }
        }
    }
    for c in 0..3 {
        s.store_clipped(high[c], low[c], &mut out[c]);
    }
}

/// The same for each column of rows that lie `stride` apart.
#[inline(always)]
fn weigh_rows<S: Simd>(s: S, rows: &[u8], stride: usize, weights: &[[i32; 2]], out: &mut [u8]) {
    let rows = &rows[..2 * weights.len() * stride];
    for (block, out) in out[..stride].as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut high = [[s.splat_i32(0); 2]; 2];
        let mut low = [[s.splat_i32(HALF); 2]; 2];
        for (p, digits) in weights.iter().enumerate() {
            let (upper, lower) = (s.splat_i32(digits[0]), s.splat_i32(digits[1]));
            for h in 0..2 {
                for v in 0..BAND / S::LANES {
                    let at = 2 * p * stride + (2 * block + h) * BAND + v * S::LANES;
                    // SAFETY: p < weights.len(), and the blocks divide a row: both vectors end within their rows, which
                    // `rows` was cut to. A check here would spill the sums.
                    let (a, b) = unsafe {
                        (rows.get_unchecked(at..at + S::LANES), rows.get_unchecked(at + stride..at + stride + S::LANES))
                    };
                    let words = s.interleave_bytes(a, b);
                    high[h][v] = s.dot_words(words, upper, high[h][v]);
                    low[h][v] = s.dot_words(words, lower, low[h][v]);
                }
            }
        }
        for (h, out) in out.as_chunks_mut::<BAND>().0.iter_mut().enumerate() {
            s.store_clipped(high[h], low[h], out);
        }
    }
}

/// Transposes columns of 16 back into 16 rows that lie `stride` apart; `stride` is a multiple of 16.
#[inline(always)]
fn transpose_out<S: Simd>(s: S, columns: &[[u8; BAND]], out: &mut [u8], stride: usize) {
    for (block, columns) in columns.as_chunks::<BAND>().0.iter().enumerate() {
        let mut square = [&[0; BAND]; BAND];
        for (to, column) in square.iter_mut().zip(columns) {
            *to = column;
        }
        for (i, row) in s.transpose_bytes(square).iter().enumerate() {
            out[i * stride + block * BAND..][..BAND].copy_from_slice(row);
        }
    }
}
