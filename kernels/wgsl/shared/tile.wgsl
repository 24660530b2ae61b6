// A tile of the product in f32, for any side of the tile.
//
// Each invocation computes 8 rows by 4 + 4 outputs of it. Workgroup memory holds two slabs of 8 inputs of both
// operands: while one is multiplied, the next is prefetched into registers, then stored to the other slab, so that one
// barrier per slab is enough.

// The side of an invocation's part of the tile, and the inputs of a slab.
const SIDE: u32 = 8;
const SLAB: u32 = 8;

// Two slabs each: [2, SLAB, TILE]; a vector holds four neighbours along the tile's side.
var<workgroup> a_slabs: array<vec4<f32>, 2 * SLAB * TILE / 4>;
var<workgroup> b_slabs: array<vec4<f32>, 2 * SLAB * TILE / 4>;

fn tile(group: vec3<u32>, groups: vec3<u32>, local: vec3<u32>, lane: u32) {
    let row0 = (group.y + group.z * groups.y) * TILE;
    let output0 = group.x * TILE;
    var sums = array<vec4<f32>, 2 * SIDE>();

    // The first `blocks` invocations load a 4×4 block of the input each, the next `blocks` one of the weights each.
    let blocks = TILE / 4 * (SLAB / 4);
    let side = lane % blocks / (SLAB / 4) * 4;
    let depth = lane % (SLAB / 4) * 4;
    let at = depth * (TILE / 4) + side / 4;
    var next = mat4x4<f32>();
    if lane < blocks {
        next = input_block(row0 + side, depth);
    } else if lane < 2 * blocks {
        next = weight_block(output0 + side, depth);
    }
    for (var k0 = 0u; k0 < params.stride; k0 += SLAB) {
        let slab = k0 / SLAB % 2 * (SLAB * TILE / 4);
        let columns = transpose(next);
        if lane < blocks {
            //! unroll i 4
            a_slabs[slab + at + $i * (TILE / 4)] = columns[$i];
            //! end
        } else if lane < 2 * blocks {
            //! unroll i 4
            b_slabs[slab + at + $i * (TILE / 4)] = columns[$i];
            //! end
        }
        workgroupBarrier();
        // Prefetches the next slab; past the last one it loads zeros, which are not used.
        if lane < blocks {
            next = input_block(row0 + side, k0 + SLAB + depth);
        } else if lane < 2 * blocks && k0 + SLAB < params.stride {
            next = weight_block(output0 + side, k0 + SLAB + depth);
        }
        let a_at = slab + local.y * 2;
        let b_at = slab + local.x;
        //! unroll k 8
        {
            let upper = a_slabs[a_at + $k * (TILE / 4)];
            let lower = a_slabs[a_at + $k * (TILE / 4) + 1];
            let left = b_slabs[b_at + $k * (TILE / 4)];
            let right = b_slabs[b_at + $k * (TILE / 4) + TILE / 8];
            //! unroll i 4
            sums[2 * $i] += upper[$i] * left;
            sums[2 * $i + 1] += upper[$i] * right;
            sums[2 * $i + 8] += lower[$i] * left;
            sums[2 * $i + 9] += lower[$i] * right;
            //! end
        }
        //! end
    }

    let row = row0 + local.y * SIDE;
    let output = output0 + local.x * 4;
    //! unroll i 8
    store_four(row + $i, output, sums[2 * $i]);
    store_four(row + $i, output + TILE / 2, sums[2 * $i + 1]);
    //! end
}

// Stores four neighbours of a row, as far as they are within the product.
fn store_four(row: u32, output: u32, sums: vec4<f32>) {
    if row >= params.rows {
        return;
    }
    //! unroll j 4
    if output + $j < params.outputs {
        let column = params.first_output + output + $j;
        store(params.out_base + row * params.out_width + column, sums[$j] + bias[column]);
    }
    //! end
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
