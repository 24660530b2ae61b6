// linear by tiles of 128×128: out = epilogue(input · Wᵀ + b).
//
// input [rows, inputs], weight [outputs, stride] packed, bias [outputs], out [rows, width of out]; f32 sums.
// Workgroup: one 128×128 tile of out; 16×16 invocations of 8×8 elements.
// Workgroup memory: two slabs of 8 inputs of both operands, 16 KiB.
// Each element is summed over the inputs first to last: batch-invariant, and the same bits in any tile.
//! import shared/tile.wgsl
//! import shared/operands.wgsl
//! import shared/weights.wgsl
//! import shared/epilogue.wgsl

const TILE: u32 = 128;

@compute @workgroup_size(TILE / SIDE, TILE / SIDE)
fn linear_128x128(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    tile(group, groups, local, lane);
}
