// layer_norm: out = (input − mean) / √(variance + eps) · γ + β, row by row, in two passes.
//
// input and out [rows, width], gamma and beta [width]; f32 sums.
// Workgroup: one row. Workgroup memory: 64 partial sums.
//! import shared/reduce.wgsl

struct Params {
    rows: u32,
    width: u32,
    eps: f32,
    // Where the rows begin in their bindings, in elements.
    input_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn layer_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows {
        return;
    }
    let start = params.input_base + row * params.width;
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        sum += input[start + i];
    }
    let mean = sum_of_lanes(lane, sum) / f32(params.width);
    var squares = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        let x = input[start + i] - mean;
        squares += x * x;
    }
    let scale = 1 / sqrt(sum_of_lanes(lane, squares) / f32(params.width) + params.eps);
    for (var i = lane; i < params.width; i += LANES) {
        out[params.out_base + row * params.width + i] = (input[start + i] - mean) * scale * gamma[i] + beta[i];
    }
}
