// linear: out = epilogue(input · Wᵀ + b).
//
// input [rows, inputs], weight [outputs, stride] packed, bias [outputs], out [rows, width of out]; f32 sums.
// Workgroup: one 64×64 tile of out; 16×16 invocations of 4×4 elements.
// Workgroup memory: a slab of 16 inputs of both operands, 8 KiB.
// Each element is summed over the inputs first to last: the same bits in any company.
//! import shared/weights.wgsl

const TILE: u32 = 64;
const DEPTH: u32 = 16;
const SIDE: u32 = 4;

const STORE: u32 = 0;
const ACCUMULATE: u32 = 1;
const QUICK_GELU: u32 = 2;
const GELU: u32 = 3;
const GELU_TANH: u32 = 4;

// What is done with a product before it is stored.
override EPILOGUE: u32 = STORE;

struct Params {
    rows: u32,
    // Outputs of this dispatch, the first of them, and the width of out.
    outputs: u32,
    first_output: u32,
    out_width: u32,
    inputs: u32,
    // Elements from one row of weights to the next: a multiple of DEPTH.
    stride: u32,
    // Where the operands' rows begin in their bindings, in elements.
    input_base: u32,
    weight_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// Slabs, DEPTH first: [DEPTH, TILE].
var<workgroup> a_slab: array<f32, DEPTH * TILE>;
var<workgroup> b_slab: array<f32, DEPTH * TILE>;

@compute @workgroup_size(TILE / SIDE, TILE / SIDE)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row0 = (group.y + group.z * 65535) * TILE;
    let output0 = group.x * TILE;
    var sums = array<vec4<f32>, SIDE>();

    // Each invocation loads four inputs of one row of either operand.
    let load_row = lane / 4;
    let load_depth = (lane % 4) * 4;
    for (var k0 = 0u; k0 < params.stride; k0 += DEPTH) {
        for (var i = 0u; i < 4; i++) {
            let k = k0 + load_depth + i;
            let row = row0 + load_row;
            var a = 0.0;
            if row < params.rows && k < params.inputs {
                a = input[params.input_base + row * params.inputs + k];
            }
            a_slab[(load_depth + i) * TILE + load_row] = a;
            let output = output0 + load_row;
            var b = 0.0;
            if output < params.outputs {
                let at = params.weight_base + output * params.stride + k;
                b = widen(weight[word_of(at)], at);
            }
            b_slab[(load_depth + i) * TILE + load_row] = b;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let b_at = k * TILE + local.x * SIDE;
            let b = vec4(b_slab[b_at], b_slab[b_at + 1], b_slab[b_at + 2], b_slab[b_at + 3]);
            for (var i = 0u; i < SIDE; i++) {
                sums[i] += a_slab[k * TILE + local.y * SIDE + i] * b;
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < SIDE; i++) {
        let row = row0 + local.y * SIDE + i;
        for (var j = 0u; j < SIDE; j++) {
            let output = output0 + local.x * SIDE + j;
            if row < params.rows && output < params.outputs {
                let column = params.first_output + output;
                store(params.out_base + row * params.out_width + column, sums[i][j] + bias[column]);
            }
        }
    }
}

fn store(at: u32, product: f32) {
    switch EPILOGUE {
        case ACCUMULATE: { out[at] += product; }
        case QUICK_GELU: { out[at] = quick_gelu(product); }
        case GELU: { out[at] = gelu(product); }
        case GELU_TANH: { out[at] = gelu_tanh(product); }
        default: { out[at] = product; }
    }
}

// x · σ(1.702 x); past the bound e^x would overflow, which WGSL leaves open.
fn quick_gelu(x: f32) -> f32 {
    return x / (1 + exp(min(-1.702 * x, 88)));
}

// x · Φ(x), with erf by Abramowitz and Stegun 7.1.26: |error| ≤ 1.5e-7.
fn gelu(x: f32) -> f32 {
    let z = min(abs(x) * 0.70710678, 6);
    let t = 1 / (1 + 0.3275911 * z);
    let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
        * exp(-z * z);
    // 1 + erf is `tail` left of 0: no difference of near values.
    return 0.5 * x * select(tail, 2 - tail, x > 0);
}

// x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))); beyond ±10 tanh is ±1.
fn gelu_tanh(x: f32) -> f32 {
    return 0.5 * x * (1 + tanh(clamp(0.7978845608 * (x + 0.044715 * x * x * x), -10, 10)));
}
