//! Elementary functions on vectors.

use super::simd::Simd;
use crate::backend::Activation;

/// `eˣ`, within 2 units in the last place for −87 ≤ x ≤ 88; clamped outside.
///
/// Cephes `expf`: `x = n ln 2 + r`, a polynomial in `r`, times `2ⁿ`.
#[inline(always)]
pub(super) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    const LN2_HIGH: f32 = 0.693_359_4; // 0x3f318000: few bits, so that n·LN2_HIGH is exact
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const POLYNOMIAL: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];

    let x = s.min(s.max(x, s.splat(-87.3)), s.splat(88.3));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN2_LOW), r);
    let p = horner(s, r, &POLYNOMIAL);
    let y = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    s.mul(y, s.exp2_integer(n))
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
    s.div(x, s.add(s.splat(1.0), exp(s, y)))
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
    let t = s.div(s.splat(1.0), s.mul_add(z, s.splat(P), s.splat(1.0)));
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

/// A function of one element. A closure would not do: what is not inlined into the level's wrapper is compiled without
/// its instructions, and closures cannot ask for it.
pub(super) trait Elementwise<S: Simd> {
    fn apply(&self, s: S, x: S::F) -> S::F;
}

/// `x ↦ f(x)` element by element.
#[inline(always)]
pub(super) fn map<S: Simd>(s: S, x: &mut [f32], f: &impl Elementwise<S>) {
    let mut chunks = x.chunks_exact_mut(S::LANES);
    for chunk in &mut chunks {
        s.store(f.apply(s, s.load(chunk)), chunk);
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        s.store_head(f.apply(s, s.load_head(tail, 0.0)), tail);
    }
}

struct QuickGelu;
struct Gelu;
struct GeluTanh;

impl<S: Simd> Elementwise<S> for QuickGelu {
    #[inline(always)]
    fn apply(&self, s: S, x: S::F) -> S::F {
        gate(s, x, s.mul(x, s.splat(-1.702)))
    }
}

impl<S: Simd> Elementwise<S> for Gelu {
    #[inline(always)]
    fn apply(&self, s: S, x: S::F) -> S::F {
        gelu(s, x)
    }
}

impl<S: Simd> Elementwise<S> for GeluTanh {
    #[inline(always)]
    fn apply(&self, s: S, x: S::F) -> S::F {
        gelu_tanh(s, x)
    }
}

/// The non-linearity of an MLP, in place.
#[inline(always)]
pub(super) fn activate<S: Simd>(s: S, activation: Activation, x: &mut [f32]) {
    match activation {
        Activation::QuickGelu => map(s, x, &QuickGelu),
        Activation::Gelu => map(s, x, &Gelu),
        Activation::GeluTanh => map(s, x, &GeluTanh),
    }
}

/// `x ↦ e^(scale·(x − max))`
struct SoftmaxNumerator {
    max: f32,
    scale: f32,
}

impl<S: Simd> Elementwise<S> for SoftmaxNumerator {
    #[inline(always)]
    fn apply(&self, s: S, x: S::F) -> S::F {
        exp(s, s.mul(s.sub(x, s.splat(self.max)), s.splat(self.scale)))
    }
}

/// `x ↦ e^(scale·(x − max x))` in place; returns the sum of the results.
#[inline(always)]
pub(super) fn softmax_numerators<S: Simd>(s: S, x: &mut [f32], scale: f32) -> f32 {
    let max = maximum(s, x);
    map(s, x, &SoftmaxNumerator { max, scale });
    sum(s, x)
}

/// `Σ a·b`, lane by lane, then across the lanes.
#[inline(always)]
pub(super) fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let (a_body, a_tail) = a.split_at(a.len() - a.len() % S::LANES);
    let (b_body, b_tail) = b.split_at(a_body.len());
    let mut sum = s.mul(s.load_head(a_tail, 0.0), s.load_head(b_tail, 0.0));
    for (a, b) in a_body.chunks_exact(S::LANES).zip(b_body.chunks_exact(S::LANES)) {
        sum = s.mul_add(s.load(a), s.load(b), sum);
    }
    s.sum(sum)
}

/// The largest element; −∞ of none.
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
    let chunks = x.chunks_exact(S::LANES);
    let mut sum = s.load_head(chunks.remainder(), 0.0);
    for chunk in chunks {
        sum = s.add(sum, s.load(chunk));
    }
    s.sum(sum)
}
