// alignment_weights: out[r] = softmax over r's segment of scale · rows[r]·anchors[s], lengths[s] = |Σ out[r]·rows[r]|.
//
// rows [·, width], anchors [segments, width], lengths [segments], out [·]; f32 sums.
// Workgroup: one segment; each invocation takes its own rows up to the softmax, then its own columns.
// Workgroup memory: 64 partial sums or maxima.
//! import shared/reduce.wgsl

struct Params {
    width: u32,
    scale: f32,
    // The dispatch's first segment and number of segments, and the first row in the binding of rows.
    first_segment: u32,
    segments: u32,
    first_row: u32,
    // Where that row begins in its binding, in elements.
    rows_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> rows: array<f32>;
@group(0) @binding(2) var<storage, read> anchors: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<u32>;
@group(0) @binding(4) var<storage, read_write> lengths: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn alignment_weights(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if index >= params.segments {
        return;
    }
    let segment = params.first_segment + index;
    let end = offsets[segment + 1];
    var largest = -3.4e38;
    for (var row = offsets[segment] + lane; row < end; row += LANES) {
        var dot = 0.0;
        let start = params.rows_base + (row - params.first_row) * params.width;
        for (var i = 0u; i < params.width; i++) {
            dot += rows[start + i] * anchors[segment * params.width + i];
        }
        let logit = params.scale * dot;
        out[row] = logit;
        largest = max(largest, logit);
    }
    let maximum = max_of_lanes(lane, largest);
    var sum = 0.0;
    for (var row = offsets[segment] + lane; row < end; row += LANES) {
        let weight = exp(out[row] - maximum);
        out[row] = weight;
        sum += weight;
    }
    let total = sum_of_lanes(lane, sum);
    for (var row = offsets[segment] + lane; row < end; row += LANES) {
        out[row] /= total;
    }
    // Makes the other invocations' weights visible.
    storageBarrier();
    var square = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        var column = 0.0;
        for (var row = offsets[segment]; row < end; row++) {
            column += out[row] * rows[params.rows_base + (row - params.first_row) * params.width + i];
        }
        square += column * column;
    }
    let length = sqrt(sum_of_lanes(lane, square));
    if lane == 0 {
        lengths[segment] = length;
    }
}
