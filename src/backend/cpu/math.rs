//! Elementary functions on vectors.

use super::simd::Simd;
use crate::backend::Activation;

/// `eˣ`, within 2 units in the last place for −87 ≤ x ≤ 88; clamped outside.
///
/// `x = n ln 2 + r`, with ln 2 in two parts as in Cephes' `expf`, and a polynomial in `r` of least relative error.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4; // 0x3f318000: few bits, so that n·LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 7] = [1.381_454e-3, 8.368_745e-3, 4.166_839e-2, 0.166_665_21, 0.499_999_94, 1.0, 1.0];

    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(88.3));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    s.scale(horner(s, r, &POLYNOMIAL), n)
}

/// `c₀ xⁿ + … + cₙ`
#[inline(always)]
fn horner<S: Simd, const N: usize>(s: S, x: S::F, coefficients: &[f32; N]) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        sum = s.mul_add(sum, x, s.splat(c));
    }
    sum
}

/// `x / (1 + eʸ) = x · σ(−y)`
#[inline(always)]
fn gate<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    s.mul(x, s.recip(s.add(s.splat(1.0), exp(s, y))))
}

/// `max(x, 0) − |x|/2 · erfc(|x|/√2)`, which is `x Φ(x)` without cancellation.
///
/// erfc by Abramowitz and Stegun 7.1.26: absolute error at most 1.5e-7.
#[inline(always)]
fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    const P: f32 = 0.327_591_1;
    const A: [f32; 5] = [1.061_405_4, -1.453_152_1, 1.421_413_7, -0.284_496_72, 0.254_829_6];

    let zero = s.splat(0.0);
    let magnitude = s.max(x, s.sub(zero, x));
    let z = s.mul(magnitude, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.recip(s.mul_add(z, s.splat(P), s.splat(1.0)));
    let decay = exp(s, s.sub(zero, s.mul(z, z)));
    let erfc = s.mul(s.mul(horner(s, t, &A), t), decay);
    s.sub(s.max(x, zero), s.mul(s.mul(magnitude, s.splat(0.5)), erfc))
}

/// `x/2 (1 + tanh u) = x · σ(2u)`
#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    const DOUBLE_SQRT_2_OVER_PI: f32 = 1.595_769;
    let cube = s.mul(s.mul(x, x), x);
    let u = s.mul_add(cube, s.splat(0.044_715), x);
    gate(s, x, s.mul(u, s.splat(-DOUBLE_SQRT_2_OVER_PI)))
}

/// The non-linearity of an MLP.
#[inline(always)]
pub(super) fn activate<S: Simd>(s: S, activation: Activation, x: S::F) -> S::F {
    match activation {
        Activation::QuickGelu => gate(s, x, s.mul(x, s.splat(-1.702))),
        Activation::Gelu => gelu(s, x),
        Activation::GeluTanh => gelu_tanh(s, x),
    }
}

/// `x ↦ e^(scale·(x − max x))` in place; returns the sum of the results.
#[inline(always)]
pub(super) fn softmax_numerators<S: Simd>(s: S, x: &mut [f32], scale: f32) -> f32 {
    let (max, scale) = (s.splat(maximum(s, x)), s.splat(scale));
    let mut sum = s.splat(0.0);
    let mut chunks = x.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        let numerators = exp(s, s.mul(s.sub(s.load(chunk), max), scale));
        s.store(numerators, chunk);
        sum = s.add(sum, numerators);
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        let x = s.load_head(tail, f32::NEG_INFINITY);
        s.store_head(exp(s, s.mul(s.sub(x, max), scale)), tail);
        sum = s.add(sum, s.load_head(tail, 0.0));
    }
    s.sum(sum)
}

/// Independent partial sums, so that an addition does not wait for the one before it.
const CHAINS: usize = 4;

/// `Σ a·b`, lane by lane, then across the lanes.
#[inline(always)]
pub(super) fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let (a_body, a_tail) = a.split_at(a.len() - a.len() % S::LANES);
    let (b_body, b_tail) = b.split_at(a_body.len());
    let mut sums = [s.splat(0.0); CHAINS];
    sums[0] = s.mul(s.load_head(a_tail, 0.0), s.load_head(b_tail, 0.0));
    for (a, b) in a_body.chunks(CHAINS * S::LANES).zip(b_body.chunks(CHAINS * S::LANES)) {
        for ((a, b), sum) in a.chunks_exact(S::LANES).zip(b.chunks_exact(S::LANES)).zip(&mut sums) {
            *sum = s.mul_add(s.load(a), s.load(b), *sum);
        }
    }
    across(s, sums)
}

/// The largest element; −∞ if there is none.
#[inline(always)]
fn maximum<S: Simd>(s: S, x: &[f32]) -> f32 {
    let chunks = x.chunks_exact(S::LANES);
    let mut max = s.load_head(chunks.remainder(), f32::NEG_INFINITY);
    for chunk in chunks {
        max = s.max(max, s.load(chunk));
    }
    s.largest(max)
}

/// `Σ x`, lane by lane, then across the lanes.
#[inline(always)]
pub(super) fn sum<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (body, tail) = x.split_at(x.len() - x.len() % S::LANES);
    let mut sums = [s.splat(0.0); CHAINS];
    sums[0] = s.load_head(tail, 0.0);
    for x in body.chunks(CHAINS * S::LANES) {
        for (x, sum) in x.chunks_exact(S::LANES).zip(&mut sums) {
            *sum = s.add(*sum, s.load(x));
        }
    }
    across(s, sums)
}

/// The sum of all chains and all lanes.
#[inline(always)]
fn across<S: Simd>(s: S, [a, b, c, d]: [S::F; CHAINS]) -> f32 {
    s.sum(s.add(s.add(a, b), s.add(c, d)))
}
