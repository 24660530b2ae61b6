// l2_normalize: each row divided by its Euclidean length, or by 1e-12 where that is longer.
//
// tensor [rows, width], in place; f32 sums.
// Workgroup: one row. Workgroup memory: 64 partial sums.
//! import shared/reduce.wgsl

struct Params {
    rows: u32,
    width: u32,
    // Where the rows begin in the binding, in elements.
    base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> tensor: array<f32>;

@compute @workgroup_size(LANES)
fn l2_normalize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows {
        return;
    }
    let start = params.base + row * params.width;
    var squares = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        squares += tensor[start + i] * tensor[start + i];
    }
    let length = max(sqrt(sum_of_lanes(lane, squares)), 1e-12);
    for (var i = lane; i < params.width; i += LANES) {
        tensor[start + i] /= length;
    }
}
