// embed_tokens: out[r] = table[token of r] + positions[place of r].
//
// tokens [rows] of (token, place in its sequence), table [vocabulary, width], positions [context, width],
// out [rows, width].
// Workgroup: one row of out. A binding may hold only the rows first .. end of table: rows of out with other tokens stay
// as they are.

const LANES: u32 = 64;

struct Params {
    rows: u32,
    width: u32,
    first: u32,
    end: u32,
    // Where the rows begin in their bindings, in elements.
    table_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tokens: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn embed_tokens(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows {
        return;
    }
    let token = tokens[row];
    if token.x < params.first || token.x >= params.end {
        return;
    }
    for (var column = lane; column < params.width; column += LANES) {
        let value = table[params.table_base + (token.x - params.first) * params.width + column];
        out[params.out_base + row * params.width + column] = value + positions[token.y * params.width + column];
    }
}
