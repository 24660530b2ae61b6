// linear on cooperative matrices of 8×8: out = epilogue(input · Wᵀ + b), the input rounded to f16.
//
// The operands of linear_128x128.wgsl, the weights stored in f16; f16 products, f32 sums.
// Workgroup: one 32×32 tile of out; 2×2 subgroups of 2×2 fragments.
//! import shared/cooperative.wgsl
//! import shared/operands.wgsl
//! import shared/epilogue.wgsl

enable f16;
enable wgpu_cooperative_matrix;

const FRAGMENT: u32 = 8;

alias FragmentA = coop_mat8x8<f16, A>;
alias FragmentB = coop_mat8x8<f16, B>;
alias FragmentC = coop_mat8x8<f32, C>;

@compute @workgroup_size(SUBGROUPS * SUBGROUP)
fn linear_cooperative_8(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) member: u32,
) {
    tile(group, groups, lane, subgroup, member);
}
