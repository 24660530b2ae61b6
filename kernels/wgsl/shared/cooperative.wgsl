// A tile of the product on cooperative matrices, for any side of a fragment.

// Invocations of a subgroup.
override SUBGROUP: u32 = 32;

const SUBGROUPS: u32 = 4;
const TILE: u32 = 4 * FRAGMENT;
// Leading dimension of a slab, padded so that rows begin in different banks.
const PITCH: u32 = DEPTH + 8;

// Slabs: [TILE, PITCH].
var<workgroup> a_slab: array<f16, TILE * PITCH>;
var<workgroup> b_slab: array<f16, TILE * PITCH>;
// Staging of one outgoing fragment for each subgroup.
var<workgroup> c_fragment: array<f32, SUBGROUPS * FRAGMENT * FRAGMENT>;

fn tile(group: vec3<u32>, groups: vec3<u32>, lane: u32, subgroup: u32, member: u32) {
    let row0 = (group.y + group.z * groups.y) * TILE;
    let output0 = group.x * TILE;
    // The subgroup's quarter of the tile.
    let down = subgroup / 2 * 2 * FRAGMENT;
    let across = subgroup % 2 * 2 * FRAGMENT;
    var c00 = FragmentC();
    var c01 = FragmentC();
    var c10 = FragmentC();
    var c11 = FragmentC();

    for (var k0 = 0u; k0 < params.stride; k0 += DEPTH) {
        for (var i = lane; i < TILE * DEPTH / 4; i += SUBGROUPS * SUBGROUP) {
            let side = i / (DEPTH / 4);
            let k = i % (DEPTH / 4) * 4;
            let a = vec4<f16>(inputs_at(row0 + side, k0 + k));
            let b = weights_at(output0 + side, k0 + k);
            //! unroll j 4
            a_slab[side * PITCH + k + $j] = a[$j];
            b_slab[side * PITCH + k + $j] = b[$j];
            //! end
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k += FRAGMENT) {
            // In naga, coopLoadT reads a matrix with contiguous rows, coopLoad one with contiguous columns.
            let a0 = coopLoadT<FragmentA>(&a_slab[down * PITCH + k], PITCH);
            let a1 = coopLoadT<FragmentA>(&a_slab[(down + FRAGMENT) * PITCH + k], PITCH);
            let b0 = coopLoad<FragmentB>(&b_slab[across * PITCH + k], PITCH);
            let b1 = coopLoad<FragmentB>(&b_slab[(across + FRAGMENT) * PITCH + k], PITCH);
            c00 = coopMultiplyAdd(a0, b0, c00);
            c01 = coopMultiplyAdd(a0, b1, c01);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c11 = coopMultiplyAdd(a1, b1, c11);
        }
        workgroupBarrier();
    }

    let own = subgroup * FRAGMENT * FRAGMENT;
    coopStoreT(c00, &c_fragment[own], FRAGMENT);
    finish(own, member, row0 + down, output0 + across);
    coopStoreT(c01, &c_fragment[own], FRAGMENT);
    finish(own, member, row0 + down, output0 + across + FRAGMENT);
    coopStoreT(c10, &c_fragment[own], FRAGMENT);
    finish(own, member, row0 + down + FRAGMENT, output0 + across);
    coopStoreT(c11, &c_fragment[own], FRAGMENT);
    finish(own, member, row0 + down + FRAGMENT, output0 + across + FRAGMENT);
}

// Applies the epilogue to a subgroup's fragment and stores it.
fn finish(own: u32, member: u32, row0: u32, output0: u32) {
    workgroupBarrier();
    for (var i = member; i < FRAGMENT * FRAGMENT; i += SUBGROUP) {
        let row = row0 + i / FRAGMENT;
        let output = output0 + i % FRAGMENT;
        if row < params.rows && output < params.outputs {
            let column = params.first_output + output;
            store(params.out_base + row * params.out_width + column, c_fragment[own + i] + bias[column]);
        }
    }
    workgroupBarrier();
}

// Four weights of one output, zero beyond the matrix.
fn weights_at(output: u32, k: u32) -> vec4<f16> {
    if output >= params.outputs {
        return vec4<f16>();
    }
    let words = weight[(params.weight_base + output * params.stride + k) / 4];
    return vec4<f16>(vec4(unpack2x16float(words.x), unpack2x16float(words.y)));
}
