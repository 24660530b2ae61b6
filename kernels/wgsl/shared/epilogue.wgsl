// The epilogues of linear and their activations, which store a product with its bias in `out`.

const STORE: u32 = 0;
const ACCUMULATE: u32 = 1;
const QUICK_GELU: u32 = 2;
const GELU: u32 = 3;
const GELU_TANH: u32 = 4;

override EPILOGUE: u32 = STORE;

fn store(at: u32, product: f32) {
    switch EPILOGUE {
        case ACCUMULATE: { out[at] += product; }
        case QUICK_GELU: { out[at] = quick_gelu(product); }
        case GELU: { out[at] = gelu(product); }
        case GELU_TANH: { out[at] = gelu_tanh(product); }
        default: { out[at] = product; }
    }
}

// x · σ(1.702 x); beyond the bound exp would overflow, with a result that WGSL leaves open.
fn quick_gelu(x: f32) -> f32 {
    return x / (1 + exp(min(-1.702 * x, 88)));
}

// x · Φ(x), with erf by Abramowitz and Stegun 7.1.26: |error| ≤ 1.5e-7.
fn gelu(x: f32) -> f32 {
    let z = min(abs(x) * 0.70710678, 6);
    let t = 1 / (1 + 0.3275911 * z);
    let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
        * exp(-z * z);
    // 1 + erf is `tail` for x < 0, so nothing cancels.
    return 0.5 * x * select(tail, 2 - tail, x > 0);
}

// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))); beyond ±10 tanh is ±1.
fn gelu_tanh(x: f32) -> f32 {
    return 0.5 * x * (1 + tanh(clamp(0.7978845608 * (x + 0.044715 * x * x * x), -10, 10)));
}
