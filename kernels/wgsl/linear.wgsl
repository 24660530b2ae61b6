// linear: out = epilogue(input · Wᵀ + b).
//
// input [rows, inputs], weight [outputs, stride] packed, bias [outputs], out [rows, width of out]; f32 sums.
// Workgroup: one 64×64 tile of out; 16×8 invocations of 8×4 elements.
// Workgroup memory: a slab of 16 inputs of both operands, 8 KiB.
// Each element is summed over the inputs first to last: the same bits in any company.
//! import shared/operands.wgsl
//! import shared/weights.wgsl
//! import shared/epilogue.wgsl

const TILE: u32 = 64;
// An invocation's part of the tile.
const DOWN: u32 = 8;
const ACROSS: u32 = 4;

// Slabs, DEPTH first: [DEPTH, TILE], four elements of the tile's side together.
var<workgroup> a_slab: array<vec4<f32>, DEPTH * TILE / 4>;
var<workgroup> b_slab: array<vec4<f32>, DEPTH * TILE / 4>;

@compute @workgroup_size(TILE / ACROSS, TILE / DOWN)
fn linear(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row0 = (group.y + group.z * groups.y) * TILE;
    let output0 = group.x * TILE;
    var sums = array<vec4<f32>, DOWN>();

    // Half of the invocations load a 4×4 block of the input each, the others one of the weights.
    let block = (lane % 16) * 4;
    let depth = lane / 16 % 4 * 4;
    let slab_at = depth * (TILE / 4) + block / 4;
    for (var k0 = 0u; k0 < params.stride; k0 += DEPTH) {
        if lane < 64 {
            let rows = transpose(input_block(row0 + block, k0 + depth));
            for (var i = 0u; i < 4; i++) {
                a_slab[slab_at + i * (TILE / 4)] = rows[i];
            }
        } else {
            let rows = transpose(weight_block(output0 + block, k0 + depth));
            for (var i = 0u; i < 4; i++) {
                b_slab[slab_at + i * (TILE / 4)] = rows[i];
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let at = k * (TILE / 4);
            let upper = a_slab[at + local.y * 2];
            let lower = a_slab[at + local.y * 2 + 1];
            let b = b_slab[at + local.x];
            sums[0] += upper.x * b;
            sums[1] += upper.y * b;
            sums[2] += upper.z * b;
            sums[3] += upper.w * b;
            sums[4] += lower.x * b;
            sums[5] += lower.y * b;
            sums[6] += lower.z * b;
            sums[7] += lower.w * b;
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < DOWN; i++) {
        let row = row0 + local.y * DOWN + i;
        for (var j = 0u; j < ACROSS; j++) {
            let output = output0 + local.x * ACROSS + j;
            if row < params.rows && output < params.outputs {
                let column = params.first_output + output;
                store(params.out_base + row * params.out_width + column, sums[i][j] + bias[column]);
            }
        }
    }
}

// Four rows of four inputs.
fn input_block(row: u32, k: u32) -> mat4x4<f32> {
    return mat4x4(inputs_at(row, k), inputs_at(row + 1, k), inputs_at(row + 2, k), inputs_at(row + 3, k));
}

// Four rows of four weights.
fn weight_block(output: u32, k: u32) -> mat4x4<f32> {
    return mat4x4(weights_at(output, k), weights_at(output + 1, k), weights_at(output + 2, k), weights_at(output + 3, k));
}

// Four weights of one output, zero beyond the matrix.
fn weights_at(output: u32, k: u32) -> vec4<f32> {
    if output >= params.outputs {
        return vec4<f32>();
    }
    let at = params.weight_base + output * params.stride + k;
    if STORAGE == F32 {
        return bitcast<vec4<f32>>(vec4(weight[at / 2], weight[at / 2 + 1]));
    }
    let words = weight[at / 4];
    return vec4(widen_pair(words.x), widen_pair(words.y));
}
