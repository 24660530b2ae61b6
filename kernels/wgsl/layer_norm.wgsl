// layer_norm: out = (input − mean) / √(variance + eps) · γ + β, row by row, in two passes.
//
// input and out [rows, width], gamma and beta [width], all read by vectors of four; f32 sums.
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
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<vec4<f32>>;

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
    let out_start = params.out_base + row * params.width;
    var sums = vec4<f32>();
    for (var i = lane * 4; i < params.width; i += LANES * 4) {
        sums += input_at(start, i);
    }
    let mean = sum_of_lanes(lane, sums.x + sums.y + sums.z + sums.w) / f32(params.width);
    var squares = vec4<f32>();
    for (var i = lane * 4; i < params.width; i += LANES * 4) {
        let x = select(vec4<f32>(), input_at(start, i) - mean, vec4(i) + vec4(0, 1, 2, 3) < vec4(params.width));
        squares += x * x;
    }
    let variance = sum_of_lanes(lane, squares.x + squares.y + squares.z + squares.w) / f32(params.width);
    let scale = 1 / sqrt(variance + params.eps);
    for (var i = lane * 4; i < params.width; i += LANES * 4) {
        store(out_start, i, (input_at(start, i) - mean) * scale * gamma[i / 4] + beta[i / 4]);
    }
}

// Four elements of a row, zero past its end.
fn input_at(start: u32, i: u32) -> vec4<f32> {
    if params.width % 4 == 0 {
        return input[(start + i) / 4];
    }
    var vector = vec4<f32>();
    //! unroll j 4
    if i + $j < params.width {
        vector[$j] = input[(start + i + $j) / 4][(start + i + $j) % 4];
    }
    //! end
    return vector;
}

// Stores four elements of a row, up to its end.
fn store(start: u32, i: u32, vector: vec4<f32>) {
    if params.width % 4 == 0 {
        out[(start + i) / 4] = vector;
        return;
    }
    //! unroll j 4
    if i + $j < params.width {
        out[(start + i + $j) / 4][(start + i + $j) % 4] = vector[$j];
    }
    //! end
}
