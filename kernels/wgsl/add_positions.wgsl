// add_positions: the class token in front of each view's patches, and the positions.
//
// patches [views·(tokens−1), width], class [width], positions [tokens, width], out [views·tokens, width].
// Workgroup: one row of out.

const LANES: u32 = 64;

struct Params {
    rows: u32,
    width: u32,
    tokens: u32,
    // Where the rows begin in their bindings, in elements.
    patches_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> patches: array<f32>;
@group(0) @binding(2) var<storage, read> class_token: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(LANES)
fn add_positions(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows {
        return;
    }
    let view = row / params.tokens;
    let token = row % params.tokens;
    for (var column = lane; column < params.width; column += LANES) {
        var value: f32;
        if token == 0 {
            value = class_token[column];
        } else {
            let patch_row = view * (params.tokens - 1) + token - 1;
            value = patches[params.patches_base + patch_row * params.width + column];
        }
        out[params.out_base + row * params.width + column] = value + positions[token * params.width + column];
    }
}
