// The operands of a linear layer, read by vectors of four.

// The weights' stride is a multiple of DEPTH.
const DEPTH: u32 = 16;

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
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// Four inputs of one row, zero beyond the matrix.
fn inputs_at(row: u32, k: u32) -> vec4<f32> {
    var vector = vec4<f32>();
    if row >= params.rows || k >= params.inputs {
        return vector;
    }
    let at = params.input_base + row * params.inputs + k;
    if params.inputs % 4 == 0 {
        return input[at / 4];
    }
    //! unroll i 4
    if k + $i < params.inputs {
        vector[$i] = input[(at + $i) / 4][(at + $i) % 4];
    }
    //! end
    return vector;
}
