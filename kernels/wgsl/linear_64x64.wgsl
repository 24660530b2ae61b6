// linear by tiles of 64×64: out = epilogue(input · Wᵀ + b).
//
// input [rows, inputs], weight [outputs, stride] packed, bias [outputs], out [rows, width of out]; f32 sums.
// Workgroup: one 64×64 tile of out; 8×8 invocations of 8×8 elements.
// Workgroup memory: two slabs of 8 inputs of both operands, 8 KiB.
// Each element is summed over the inputs first to last: batch-invariant, and the same bits in any tile.
//! import shared/tile.wgsl
//! import shared/operands.wgsl
//! import shared/weights.wgsl
//! import shared/epilogue.wgsl

const TILE: u32 = 64;

@compute @workgroup_size(TILE / SIDE, TILE / SIDE)
fn linear_64x64(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    tile(group, groups, local, lane);
}
