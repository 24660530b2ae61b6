//! Values on which a careless kernel fails: rows far from 0, rows of almost nothing, and logits so large that a softmax
//! that is not shifted by its maximum overflows, or vanishes.
//!
//! Inputs are chosen so that the sums before the delicate step are exact: the bounds are those of the rounding of the
//! step itself, which no large number amplifies.

use super::activations::{activation, empty};
use super::deep::even;
use super::{close, numbers, offsets, pair, rounding, run, with_data};
use crossalign::backend::args::{AlignmentWeightsArgs, AttentionArgs, L2NormalizeArgs};
use crossalign::backend::{Backend, Reference, Shape};
use proptest::prelude::*;

/// Half a unit in the last place, relative.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

/// The distance between subnormal f16.
const SMALLEST_HALF: f64 = 1.0 / (1 << 24) as f64;

/// Bounds for the relative errors of softmax weights whose logits are `gaps` below the largest, with an error of
/// `error` each. The numerator of the largest is exactly 1; e^−x is good to 3 + 2x units in the last place (WGSL,
/// 15.7.4.1).
fn softmax_error(gaps: &[f64], error: f64) -> Vec<f64> {
    let numerators: Vec<f64> = gaps.iter().map(|gap| (-gap).exp()).collect();
    let total: f64 = numerators.iter().sum();
    let of = |gap: f64| if gap == 0.0 { 0.0 } else { 2.0 * error + 2.0 * (3.0 + 2.0 * gap) * ROUNDING };
    // Below e⁻⁸⁷ f32 is subnormal: a device may give 0 or the smallest normal number.
    let share = |(&gap, &n): (&f64, &f64)| if gap > 80.0 { 0.0 } else { n / total * of(gap) };
    let of_total: f64 = gaps.iter().zip(&numerators).map(share).sum();
    gaps.iter().map(|&gap| of(gap) + of_total + (gaps.len() as f64 + 8.0) * ROUNDING).collect()
}

/// Error bounds of layer-normalised rows: for the mean, the rounding of its sum, of which a kernel has at least 32
/// partial ones; for the spread, the square of that, since deviations are squared, not elements; and a few units in the
/// last place. An offset that all elements share counts once, not squared as in a one-pass variance.
pub fn layer_norm_bound(row: &[f32], eps: f64, gamma: &[f32], beta: &[f32]) -> Vec<f32> {
    let (x, width) = (|i: usize| f64::from(row[i]), row.len() as f64);
    let mean = (0..row.len()).map(x).sum::<f64>() / width;
    let spread = ((0..row.len()).map(|i| (x(i) - mean).powi(2)).sum::<f64>() / width + eps).sqrt();
    let terms = width / 32.0 + 10.0;
    let shift = terms * ROUNDING * row.iter().map(|x| f64::from(x.abs())).sum::<f64>() / width / spread;
    let of = |(i, (gamma, beta)): (usize, (&f32, &f32))| {
        let y = ((x(i) - mean) / spread).abs();
        let normalised = shift + y * (0.5 * shift * shift + (terms + 16.0) * ROUNDING);
        (f64::from(gamma.abs()) * normalised + 4.0 * ROUNDING * f64::from(beta.abs())) as f32
    };
    gamma.iter().zip(beta).enumerate().map(of).collect()
}

/// Rows of a tiny or a huge length, also below the least length that a row is divided by.
pub fn l2_normalize_of_any_length<B: Backend>(device: &B) {
    run(60, (1usize..6, 1usize..200, -30i32..16, any::<u64>()), |(rows, width, exponent, seed)| {
        let shape = Shape::new(rows, width);
        let unit = 10f32.powi(exponent);
        let mut rows = with_data(device, shape, even(seed, shape.len()).into_iter().map(|x| x * unit).collect());
        device.l2_normalize(L2NormalizeArgs { tensor: &mut rows.found }).unwrap();
        Reference.l2_normalize(L2NormalizeArgs { tensor: &mut rows.expected }).unwrap();
        let expected = rows.expected.data();
        close(device, &rows, |i| rounding(width) * expected[i].abs())
    });
}

/// Rows whose products are multiples of ¼ from −1 to 1, exactly: four elements of ±½, or none in common.
fn unit_rows(seed: u64, rows: usize, width: usize, sign: impl Fn(usize, usize) -> bool) -> Vec<f32> {
    let mut data = vec![0.0; rows * width];
    for row in 0..rows {
        for i in 0..4 {
            data[row * width + (seed as usize + i * (width / 4)) % width] = if sign(row, i) { 0.5 } else { -0.5 };
        }
    }
    data
}

/// Cosines of exactly ±1 and between, at scales up to e²⁰: one that fits among many that do not, all that fit, none.
pub fn alignment_weights_at_any_scale<B: Backend>(device: &B) {
    let scales = prop_oneof![Just(20f32.exp()), Just(1e4), Just(100.0), 0f32..60.0];
    let strategy = (offsets(5, 150), 4usize..80, scales, 0..5, any::<u64>());
    run(60, strategy, |(offsets, width, scale, kind, seed)| {
        let (count, segments) = (*offsets.last().unwrap() as usize, offsets.len() - 1);
        let hot = |row: usize| row % 97 == seed as usize % 97;
        let noise = even(seed, 4 * count.max(1));
        let sign = |row: usize, i: usize| match kind {
            0 => hot(row),
            1 => false,
            2 => !hot(row),
            // The largest cosine is −½.
            3 => hot(row) && i == 0,
            _ => noise[4 * row + i] > 0.0,
        };
        let rows = with_data(device, Shape::new(count, width), unit_rows(seed, count, width, sign));
        let anchors = with_data(device, Shape::new(segments, width), unit_rows(seed, segments, width, |_, _| true));
        let mut out = pair(device, Shape::new(1, count), 3);
        let mut lengths = pair(device, Shape::new(1, segments), 4);
        device
            .alignment_weights(AlignmentWeightsArgs {
                rows: &rows.found,
                anchors: &anchors.found,
                offsets: &offsets,
                scale,
                lengths: &mut lengths.found,
                out: &mut out.found,
            })
            .unwrap();
        Reference
            .alignment_weights(AlignmentWeightsArgs {
                rows: &rows.expected,
                anchors: &anchors.expected,
                offsets: &offsets,
                scale,
                lengths: &mut lengths.expected,
                out: &mut out.expected,
            })
            .unwrap();

        let mut bounds = Vec::new();
        for (segment, bound) in offsets.windows(2).enumerate() {
            let cosine = |row: u32| {
                let pairs = rows.data[row as usize * width..].iter().zip(&anchors.data[segment * width..][..width]);
                f64::from(scale) * f64::from(pairs.map(|(a, b)| a * b).sum::<f32>())
            };
            let logits: Vec<f64> = (bound[0]..bound[1]).map(cosine).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let gaps: Vec<f64> = logits.iter().map(|logit| largest - logit).collect();
            // The product with the scale is rounded.
            bounds.extend(softmax_error(&gaps, f64::from(scale) * ROUNDING));
        }
        let expected = out.expected.data();
        close(device, &out, |i| (bounds[i] * f64::from(expected[i]) + 1e-37) as f32)
    });
}

/// Scores of large magnitude, exact in f32: all of one sign, or one key that each query fits, in any block of keys.
pub fn attention_of_large_scores<B: Backend>(device: &B) {
    large_scores(
        device,
        |shape, data| device.upload(shape, data).unwrap(),
        |shape| device.allocate(shape).unwrap(),
        0.0,
    );
}

/// As [`attention_of_large_scores`], on f16 activations, where weights of the softmax are rounded to f16.
pub fn attention_of_large_scores_of_activations<B: Backend>(device: &B) {
    large_scores(device, |shape, data| activation(device, shape, data), |shape| empty(device, shape), 1.0 / 1024.0);
}

fn large_scores<B: Backend>(
    device: &B,
    upload: impl Fn(Shape, &[f32]) -> B::Tensor,
    allocate: impl Fn(Shape) -> B::Tensor,
    narrow: f64,
) {
    // Scales of 1/√d that are powers of two.
    let heads = prop_oneof![Just((1usize, 64usize)), Just((3, 4)), Just((3, 16))];
    let strategy = (heads, 1usize..300, 1usize..20, (0..4, any::<bool>()), any::<u64>());
    run(24, strategy, |((heads, dim), keys, queries, (kind, causal), seed)| {
        let (queries, width) = (queries.min(keys), heads * dim);
        let (shape, key_shape) = (Shape::new(queries, width), Shape::new(keys, 2 * width));
        let whole = |seed, count, most: f32| -> Vec<f32> {
            even(seed, count).into_iter().map(|x| (x * (most + 1.0)).trunc()).collect()
        };
        // Sums of products of at most 64 · 96 · 96 are exact, and so are eighths of them and their differences.
        let q: Vec<f32> = match kind {
            0 => whole(seed, shape.len(), 96.0),
            _ => whole(seed, shape.len(), 96.0).into_iter().map(f32::abs).collect(),
        };
        let mut k = whole(seed ^ 8, key_shape.len(), 96.0);
        let hot = seed as usize % keys;
        for (i, x) in k.iter_mut().enumerate().filter(|(i, _)| i % (2 * width) < width) {
            *x = match kind {
                0 => *x,
                // Kind 1: no score is above 0; 2: as 1, and one key has the score 0 with all queries; 3: none is below
                // 0.
                _ if kind == 2 && i / (2 * width) == hot => 0.0,
                3 => x.abs(),
                _ => -x.abs(),
            };
        }
        let (queries_of, keys_of) = (Reference.upload(shape, &q).unwrap(), Reference.upload(key_shape, &k).unwrap());
        let (q_offsets, k_offsets) = ([0, queries as u32], [0, keys as u32]);
        let mut expected = Reference.allocate(shape).unwrap();
        Reference
            .attention(AttentionArgs {
                queries: &queries_of,
                keys_values: &keys_of,
                query_offsets: &q_offsets,
                key_offsets: &k_offsets,
                heads,
                causal,
                out: &mut expected,
            })
            .unwrap();
        let mut found = allocate(shape);
        let (a, b) = (upload(shape, &q), upload(key_shape, &k));
        device
            .attention(AttentionArgs {
                queries: &a,
                keys_values: &b,
                query_offsets: &q_offsets,
                key_offsets: &k_offsets,
                heads,
                causal,
                out: &mut found,
            })
            .unwrap();
        let found = device.download(&found).unwrap();

        let scale = 1.0 / (dim as f64).sqrt();
        for (i, (&found, &expected)) in found.iter().zip(expected.data()).enumerate() {
            let (row, column) = (i / width, i % width);
            let seen = if causal { keys - queries + row + 1 } else { keys };
            let first = column / dim * dim;
            let score = |key: usize| {
                let pairs = q[row * width + first..][..dim].iter().zip(&k[key * 2 * width + first..][..dim]);
                scale * pairs.map(|(a, b)| f64::from(a * b)).sum::<f64>()
            };
            let scores: Vec<f64> = (0..seen).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let gaps: Vec<f64> = scores.iter().map(|score| largest - score).collect();
            let total: f64 = gaps.iter().map(|gap| (-gap).exp()).sum();
            let share = |(key, (gap, error)): (usize, (&f64, f64))| {
                let value = f64::from(k[key * 2 * width + width + column]).abs();
                let numerator = (-gap).exp();
                let lost = if narrow > 0.0 { numerator.min(SMALLEST_HALF) } else { 0.0 };
                (numerator * (error + narrow) + lost) / total * value
            };
            let bound: f64 = gaps.iter().zip(softmax_error(&gaps, 0.0)).enumerate().map(share).sum();
            let bound = bound + f64::from(expected.abs()) * (narrow + ROUNDING) + 1e-30;
            let bound = if narrow > 0.0 { bound + SMALLEST_HALF } else { bound };
            let difference = f64::from((found - expected).abs());
            prop_assert!(difference <= bound, "element {i}: {found}, expected {expected} within {bound}");
        }
        Ok(())
    });
}

/// Rows of one offset, with noise; see [`layer_norm_bound`].
pub fn offset_rows(seed: u64, shape: Shape, offset: f32) -> Vec<f32> {
    numbers(seed, shape.len()).into_iter().map(|x| x + offset).collect()
}
