// gather_rows: out[i] = input[rows[i]].
//
// input and out [·, width], rows [count].
// Workgroup: one row of out. A binding may hold only the rows first .. end of input: rows of out that copy others stay
// as they are.

const LANES: u32 = 64;

struct Params {
    count: u32,
    width: u32,
    first: u32,
    end: u32,
    // Where the rows begin in their bindings, in elements.
    input_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn gather_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    if i >= params.count {
        return;
    }
    let row = rows[i];
    if row < params.first || row >= params.end {
        return;
    }
    for (var column = lane; column < params.width; column += LANES) {
        let value = input[params.input_base + (row - params.first) * params.width + column];
        out[params.out_base + i * params.width + column] = value;
    }
}
