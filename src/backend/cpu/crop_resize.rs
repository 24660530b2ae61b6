//! `crop_resize`: cut, resample, normalise and patchify.
//!
//! The horizontal pass works on bands of 16 rows, transposed so that 16 rows lie side by side: every tap is then one
//! weight times 48 bytes (16 rows of one RGB pixel) without a shuffle. Its bytes are transposed back, and the
//! vertical pass weighs whole rows. Integer sums, so every level gives the same bytes as Pillow.
//! The loops are plain arrays: the compiler vectorises them for the level they are dispatched to.

use super::Cpu;
use super::simd::{Kernel, Simd};
use crate::backend::{
    CropOutput, CropPlan, CropView, HostTensor, PatchLayout, Rgb, Taps, contract, crop::PRECISION_BITS,
};
use crate::error::Result;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a band, and bytes of a transposed block's side.
const BAND: usize = 16;
/// Columns of the middle picture that the vertical pass sums at a time.
const BLOCK: usize = 64;

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
    /// A band of the crop, transposed: 16 rows for each byte column.
    band: Vec<[u8; BAND]>,
    /// The band after the horizontal pass, still transposed.
    resampled: Vec<[u8; BAND]>,
    /// All rows after the horizontal pass, each padded to whole blocks.
    middle: Vec<u8>,
    /// One row of the view.
    row: Vec<u8>,
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
    fn run<S: Simd>(self, _: S) {
        let Self { picture, plan, view, mut store, scratch } = self;
        let size = plan.size() as usize;
        let stride = (size * 3).next_multiple_of(BLOCK);
        let (horizontal, vertical) = (&plan.taps()[view.horizontal], &plan.taps()[view.vertical]);
        let rows = vertical.span();
        horizontal_pass(picture, view, horizontal, rows.clone(), stride, scratch);
        let Scratch { middle, row, .. } = scratch;
        row.resize(stride, 0);
        for y in 0..size {
            let (start, weights) = vertical.get(y);
            let taps = &middle[(start - rows.start) * stride..][..weights.len() * stride];
            for (column, block) in (0..stride).step_by(BLOCK).zip(row.as_chunks_mut().0) {
                *block = weigh_rows(&taps[column..], stride, weights);
            }
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

/// `clip8((2²¹ + Σ w·v) >> 22)` without its sum.
#[inline(always)]
fn clip8(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// Resamples the crop's rows into `scratch.middle`.
#[inline(always)]
fn horizontal_pass(
    picture: Rgb<'_>,
    view: &CropView,
    taps: &Taps,
    rows: Range<usize>,
    stride: usize,
    scratch: &mut Scratch,
) {
    let Scratch { band, resampled, middle, .. } = scratch;
    let columns = taps.span();
    middle.resize(rows.len().next_multiple_of(BAND) * stride, 0);
    resampled.resize(stride, [0; BAND]);
    for first in (0..rows.len()).step_by(BAND) {
        // Rows beyond the last repeat it; their results are not read.
        let row = |i: usize| {
            let y = view.y as usize + rows.start + (first + i).min(rows.len() - 1);
            picture.span(view.x + columns.start as u32, y as u32, columns.len() as u32)
        };
        transpose_in(row, columns.len() * 3, band);
        for x in 0..taps.len() {
            let (start, weights) = taps.get(x);
            let pixels = &band[(start - columns.start) * 3..][..weights.len() * 3];
            let sums = weigh_pixels(pixels, weights);
            for c in 0..3 {
                for i in 0..BAND {
                    resampled[x * 3 + c][i] = clip8(sums[c][i]);
                }
            }
        }
        transpose_out(resampled, &mut middle[first * stride..][..BAND * stride], stride);
    }
}

/// `Σ w·v` for 16 rows of three channels.
#[inline(always)]
fn weigh_pixels(pixels: &[[u8; BAND]], weights: &[i32]) -> [[i32; BAND]; 3] {
    let mut sums = [[HALF; BAND]; 3];
    for (pixel, &weight) in pixels.chunks_exact(3).zip(weights) {
        for c in 0..3 {
            for i in 0..BAND {
                sums[c][i] += weight * i32::from(pixel[c][i]);
            }
        }
    }
    sums
}

/// `clip8 Σ w·v` for a block of columns of rows that lie `stride` apart.
#[inline(always)]
fn weigh_rows(rows: &[u8], stride: usize, weights: &[i32]) -> [u8; BLOCK] {
    let mut sums = [HALF; BLOCK];
    for (row, &weight) in rows.chunks(stride).zip(weights) {
        let row: &[u8; BLOCK] = row.first_chunk().expect("rows are padded to blocks");
        for i in 0..BLOCK {
            sums[i] += weight * i32::from(row[i]);
        }
    }
    let mut bytes = [0; BLOCK];
    for i in 0..BLOCK {
        bytes[i] = clip8(sums[i]);
    }
    bytes
}

/// Transposes 16 rows of `length` bytes into one array of 16 for each column.
#[inline(always)]
fn transpose_in<'a>(row: impl Fn(usize) -> &'a [u8], length: usize, out: &mut Vec<[u8; BAND]>) {
    out.resize(length, [0; BAND]);
    let rows: [&[u8]; BAND] = std::array::from_fn(|i| &row(i)[..length]);
    let whole = length - length % BAND;
    for column in (0..whole).step_by(BAND) {
        let block = std::array::from_fn(|i| *rows[i][column..].first_chunk().expect("a whole block"));
        out[column..column + BAND].copy_from_slice(&transpose(block));
    }
    for column in whole..length {
        out[column] = std::array::from_fn(|i| rows[i][column]);
    }
}

/// Transposes columns of 16 back into 16 rows that lie `stride` apart; `stride` is a multiple of 16.
#[inline(always)]
fn transpose_out(columns: &[[u8; BAND]], out: &mut [u8], stride: usize) {
    for (block, columns) in columns.as_chunks::<BAND>().0.iter().enumerate() {
        for (i, row) in transpose(*columns).into_iter().enumerate() {
            out[i * stride + block * BAND..][..BAND].copy_from_slice(&row);
        }
    }
}

/// Transposes 16×16 bytes: interleaving row `i` with row `i + 8`, four times.
#[inline(always)]
fn transpose(mut block: [[u8; BAND]; BAND]) -> [[u8; BAND]; BAND] {
    for _ in 0..4 {
        let mut next = [[0; BAND]; BAND];
        for i in 0..8 {
            (next[2 * i], next[2 * i + 1]) = interleave(block[i], block[i + 8]);
        }
        block = next;
    }
    block
}

/// `a₀ b₀ a₁ b₁ …`, in two halves.
#[inline(always)]
fn interleave(a: [u8; BAND], b: [u8; BAND]) -> ([u8; BAND], [u8; BAND]) {
    let pick = |i: usize| if i.is_multiple_of(2) { a[i / 2] } else { b[i / 2] };
    (std::array::from_fn(pick), std::array::from_fn(|i| pick(i + BAND)))
}
