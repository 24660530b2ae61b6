//! `crop_resize`: cut, resample, normalise and patchify.
//!
//! Both passes take their inputs in pairs: a fixed-point weight is split into two digits, each a 16-bit integer, and
//! one instruction multiplies a pair of pixels by a pair of digits and adds the products up. The horizontal pass works
//! on bands of 16 rows, transposed so that 16 rows lie side by side: one pair of weights then multiplies 16 pairs of
//! neighbouring pixels, without a shuffle. Its bytes are transposed back, each beside the one below it, which is the
//! pair that the vertical pass takes. All sums are of integers, so every level gives the same bytes as Pillow.
//!
//! ```text
//! picture          pairs of pixels       resampled           middle               view
//! 16 rows     →    columns × 16 rows  →  columns × 16 rows → pairs of rows   →    rows
//! of bytes         of two i16            of bytes            of bytes             of bytes
//!         transpose            horizontal         transpose         vertical
//! ```

use super::Cpu;
use super::simd::{DIGIT_BITS, Simd, SimdTask};
use crate::backend::args::{Checked, CropResizeArgs};
use crate::backend::{CropJob, CropOutput, CropPlan, CropView, PRECISION_BITS, PatchLayout, Rgb, Taps};
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a band, and the side of the squares of bytes that are transposed.
const BAND: usize = 16;
/// Bytes of a row that the vertical pass sums at a time; rows are padded to a multiple of them.
const BLOCK: usize = 2 * BAND;
/// Pairs of pixels of a row that are transposed together, with one bounds check for each row.
const CHUNK: usize = 8;
/// Half of one in fixed point, which Pillow adds to round.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

pub(super) fn run(cpu: &Cpu, args: Checked<CropResizeArgs<'_, '_, Cpu>>) -> Result<()> {
    let CropResizeArgs { jobs, output } = args.into_inner();
    let side = jobs.first().map_or(0, |job| job.plan.size() as usize);
    let elements = (side * side * 3).max(1);
    let views: Vec<_> = jobs.iter().flat_map(|job| job.views().iter().map(move |view| (job, view))).collect();
    let one = |scratch: &mut Scratch, &(job, view): &(&CropJob<'_, Rgb<'_>>, &CropView), store: Store<'_>| {
        cpu.level.dispatch(OneView { picture: *job.picture, plan: job.plan, view, store, scratch });
    };
    cpu.install(|| match output {
        CropOutput::Bytes(bytes) => {
            let views = bytes.par_chunks_exact_mut(elements).zip(&views);
            views.for_each_init(Scratch::default, |scratch, (out, view)| one(scratch, view, Store::Bytes(out)));
        }
        CropOutput::Patches { layout, first_row, out } => {
            let patches = &mut out.data_mut()[first_row * 3 * (layout.patch() as usize).pow(2)..];
            let views = patches.par_chunks_exact_mut(elements).zip(&views);
            let store = |out| Store::Patches { layout, out };
            views.for_each_init(Scratch::default, |scratch, (out, view)| one(scratch, view, store(out)));
        }
    });
    Ok(())
}

/// Buffers that a thread reuses from view to view.
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
    /// All rows after the horizontal pass, in pairs: each byte beside the one below it. A row is padded to whole blocks.
    middle: Vec<u8>,
    /// The view's rows, padded to whole blocks.
    view: Vec<u8>,
}

/// Taps as pairs of weights, each pair as its upper and its lower digits: words of two 16-bit integers. Pairs begin at
/// even inputs, and all outputs have equally many, so that the ends of their loops are predicted; a weight that a pair
/// lacks is 0.
#[derive(Default)]
struct Digits {
    /// For each output, its first pair of inputs within the span.
    firsts: Vec<usize>,
    pairs: Vec<[i32; 2]>,
    /// Pairs of each output.
    each: usize,
}

impl Digits {
    fn set(&mut self, taps: &Taps) {
        let word = |first: i32, second: i32| bytemuck::cast([first as i16, second as i16]);
        let lower = |weight: i32| weight & ((1 << DIGIT_BITS) - 1);
        let from = taps.span().start;
        let outputs = (0..taps.len()).map(|i| taps.get(i)).map(|(start, weights)| (start - from, weights));
        let pairs = outputs.clone().map(|(first, weights)| (first % 2 + weights.len()).div_ceil(2));
        self.each = pairs.max().unwrap_or(0);
        self.firsts.clear();
        self.pairs.clear();
        for (first, weights) in outputs {
            self.firsts.push(first / 2);
            let at = |j: usize| j.checked_sub(first % 2).and_then(|j| weights.get(j)).copied().unwrap_or(0);
            for p in 0..self.each {
                let (a, b) = (at(2 * p), at(2 * p + 1));
                self.pairs.push([word(a >> DIGIT_BITS, b >> DIGIT_BITS), word(lower(a), lower(b))]);
            }
        }
    }

    /// Output `i`'s first pair of inputs, and its weights.
    #[inline(always)]
    fn get(&self, i: usize) -> (usize, &[[i32; 2]]) {
        (self.firsts[i], &self.pairs[i * self.each..][..self.each])
    }
}

/// Where one view goes.
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

impl SimdTask for OneView<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { picture, plan, view, store, scratch } = self;
        let size = plan.size() as usize;
        let stride = (size * 3).next_multiple_of(BLOCK);
        let (horizontal, vertical) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        scratch.horizontal.set(horizontal);
        scratch.vertical.set(vertical);
        horizontal_pass(s, picture, view, horizontal.span(), vertical.span(), stride, scratch);
        let Scratch { vertical, middle, view, .. } = scratch;
        view.resize(size * stride, 0);
        for (y, row) in view.chunks_exact_mut(stride).enumerate() {
            let (first, weights) = vertical.get(y);
            weigh_rows(s, &middle[2 * first * stride..], weights, row);
        }
        store.view(size, view, stride);
    }
}

impl Store<'_> {
    /// Stores a view of `size × size`, whose rows lie `stride` apart.
    #[inline(always)]
    fn view(self, size: usize, view: &[u8], stride: usize) {
        match self {
            Self::Bytes(out) => {
                for (out, row) in out.chunks_exact_mut(size * 3).zip(view.chunks_exact(stride)) {
                    out.copy_from_slice(&row[..size * 3]);
                }
            }
            // Patch by patch, so that `out` is written sequentially.
            Self::Patches { layout, out } => {
                let patch = layout.patch() as usize;
                let across = size / patch;
                for (i, out) in out.chunks_exact_mut(3 * patch * patch).enumerate() {
                    let corner = i / across * patch * stride + i % across * patch * 3;
                    for (c, table) in layout.table().iter().enumerate() {
                        for y in 0..patch {
                            let pixels = &view[corner + y * stride..][..patch * 3];
                            let out = &mut out[(c * patch + y) * patch..][..patch];
                            for (out, pixel) in out.iter_mut().zip(pixels.as_chunks::<3>().0) {
                                *out = table[usize::from(pixel[c])];
                            }
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
    let Scratch { horizontal, vertical, pairs, resampled, middle, .. } = scratch;
    // Behind the last row there is room for the pairs of weight 0, which are read too.
    middle.resize((rows.len().next_multiple_of(BAND) + 2 * vertical.each) * stride, 0);
    let chunks = columns.len().div_ceil(2 * CHUNK);
    pairs.resize(chunks * CHUNK + horizontal.each, [[0; BAND]; 3]);
    resampled.resize(stride, [0; BAND]);
    for first in (0..rows.len()).step_by(BAND) {
        // Rows beyond the last repeat it; their results have weight 0 or are not read.
        let row = |i: usize| {
            let y = view.y as usize + rows.start + (first + i).min(rows.len() - 1);
            picture.span(view.x + columns.start as u32, y as u32, columns.len() as u32)
        };
        pair_pixels(s, row, columns.len() * 3, &mut pairs.as_chunks_mut().0[..chunks]);
        for x in 0..horizontal.firsts.len() {
            let (first, weights) = horizontal.get(x);
            weigh_pixels(s, &pairs[first..], weights, &mut resampled[x * 3..x * 3 + 3]);
        }
        transpose_out(s, resampled, &mut middle[first * stride..][..BAND * stride], stride);
    }
}

/// Transposes 16 rows of `length` bytes, each pixel of even column beside its right neighbour, as 16-bit integers.
#[inline(always)]
fn pair_pixels<'a, S: Simd>(
    s: S,
    row: impl Fn(usize) -> &'a [u8],
    length: usize,
    pairs: &mut [[[[i32; BAND]; 3]; CHUNK]],
) {
    /// Bytes of two pairs, and how many are read for them.
    const STEP: usize = 12;
    const READ: usize = 16;
    /// Bytes that are read of a row for a chunk.
    const PART: usize = CHUNK * 6 + READ - STEP;
    let mut rows: [&[u8]; BAND] = [&[]; BAND];
    for (i, to) in rows.iter_mut().enumerate() {
        *to = &row(i)[..length];
    }
    let mut last = [[0; PART]; BAND];
    for (chunk, pairs) in pairs.iter_mut().enumerate() {
        let mut parts = [&[0; PART]; BAND];
        for ((part, last), row) in parts.iter_mut().zip(&mut last).zip(rows) {
            let rest = &row[chunk * CHUNK * 6..];
            *part = rest.first_chunk().unwrap_or_else(|| {
                last[..rest.len()].copy_from_slice(rest);
                last
            });
        }
        for (step, pairs) in pairs.as_chunks_mut().0.iter_mut().enumerate() {
            let mut bytes = [&[0; READ]; BAND];
            for (to, part) in bytes.iter_mut().zip(parts) {
                *to = part[step * STEP..].first_chunk().unwrap_or(to);
            }
            s.pair_pixels(bytes, pairs);
        }
    }
}

/// `clip8((2²¹ + Σ w·v) >> 22)` for 16 rows of three channels.
#[inline(always)]
fn weigh_pixels<S: Simd>(s: S, pixels: &[[[i32; BAND]; 3]], weights: &[[i32; 2]], out: &mut [[u8; BAND]]) {
    let pixels = &pixels[..weights.len()];
    // At levels of 16 lanes one vector holds all rows, and the second of each is unused.
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

/// As [`weigh_pixels`], for each byte column of pairs of rows.
#[inline(always)]
fn weigh_rows<S: Simd>(s: S, rows: &[u8], weights: &[[i32; 2]], out: &mut [u8]) {
    let stride = 2 * out.len();
    let rows = &rows[..weights.len() * stride];
    for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut high = [[s.splat_i32(0); 2]; 2];
        let mut low = [[s.splat_i32(HALF); 2]; 2];
        for (p, digits) in weights.iter().enumerate() {
            let (upper, lower) = (s.splat_i32(digits[0]), s.splat_i32(digits[1]));
            for h in 0..2 {
                for v in 0..BAND / S::LANES {
                    let at = p * stride + 2 * ((2 * block + h) * BAND + v * S::LANES);
                    // SAFETY: p < weights.len(), and the blocks divide a row: the vector ends within its pair of rows,
                    // which `rows` was cut to. A check here would spill the sums.
                    let words = s.load_bytes(unsafe { rows.get_unchecked(at..at + 2 * S::LANES) });
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

/// Transposes columns of 16 back into 16 rows, in pairs; a row takes `stride` bytes, a multiple of 16.
#[inline(always)]
fn transpose_out<S: Simd>(s: S, columns: &[[u8; BAND]], out: &mut [u8], stride: usize) {
    for (block, columns) in columns.as_chunks::<BAND>().0.iter().enumerate() {
        for (i, rows) in s.pair_rows(columns).iter().enumerate() {
            out[2 * (i * stride + block * BAND)..][..2 * BAND].copy_from_slice(rows);
        }
    }
}
