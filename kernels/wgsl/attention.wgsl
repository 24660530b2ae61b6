// attention: softmax(q kᵀ / √d) v for each sequence and head.
//
// queries and out [·, width], keys_values [·, 2·width] (keys, then values); head h takes columns h·d .. (h+1)·d.
// Workgroup: up to 64 queries of a sequence, one head, up to 64 columns of it; 8×8 invocations. An invocation holds the
// scores of 8 queries with 4 keys, then 8 columns of the queries' sums, all in registers.
// Workgroup memory, 16 KiB: slabs of 16 columns of queries and keys, whose memory the partial maxima and then the
// values reuse; and the weights. The keys are walked in blocks of 32; from the second block on the sums so far are
// rescaled to the new maximum (online softmax).

const QUERIES: u32 = 64;
const KEYS: u32 = 32;
const COLUMNS: u32 = 64;
// Columns of queries and keys in a slab.
const DEPTH: u32 = 16;
const LANES: u32 = 64;
// Below every score.
const LOWEST: f32 = -3.4e38;

struct Params {
    items: u32,
    width: u32,
    head_dim: u32,
    causal: u32,
    scale: f32,
    // Where the rows begin in their bindings, in elements.
    queries_base: u32,
    keys_values_base: u32,
    out_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> queries: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys_values: array<vec4<f32>>;
// Per workgroup: the first query row, the number of queries, the first key row, the number of keys that the first query
// sees.
@group(0) @binding(3) var<storage, read> items: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// Holds in turn: the slabs [DEPTH, QUERIES] and, from KEY_SLAB on, [DEPTH, KEYS]; the partial maxima, at the end the
// totals, [8, 8] of 8 queries each; the values [KEYS, COLUMNS]. A vector holds four neighbours of a row.
var<workgroup> operands: array<vec4<f32>, KEYS * COLUMNS / 4>;
const KEY_SLAB: u32 = DEPTH * QUERIES / 4;
// [KEYS, QUERIES]; a vector holds four neighbouring queries.
var<workgroup> weights: array<vec4<f32>, KEYS * QUERIES / 4>;

@compute @workgroup_size(8, 8)
fn attention(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // x and y count the items; z the heads, and within them the blocks of 64 columns.
    let index = group.x + group.y * groups.x;
    if index >= params.items {
        return;
    }
    let item = items[index];
    let blocks = (params.head_dim + COLUMNS - 1) / COLUMNS;
    let head = group.z / blocks;
    let column0 = group.z % blocks * COLUMNS;
    let query0 = params.queries_base + item.x * params.width + head * params.head_dim;
    let key0 = params.keys_values_base + item.z * 2 * params.width + head * params.head_dim;
    let value0 = key0 + params.width;
    let keys = item.w + select(0, item.y - 1, params.causal == 1);

    // The invocation's queries are local.y·8 .. +8, its keys local.x·4 .. +4 of a block, its columns local.x·4 .. +4
    // and those 32 further on. An invocation without queries only helps to fill workgroup memory.
    let first_query = local.y * 8;
    let works = first_query < item.y;
    // How many keys its first query sees, and how many more each next query sees.
    let visible = item.w + select(0, first_query, params.causal == 1);
    let more = params.causal;
    var sums = array<vec4<f32>, 16>();
    // For its first four queries (upper) and the others (lower): the maximum so far, and the sum of the weights of the
    // invocation's own keys.
    var upper_maximum = vec4(LOWEST);
    var lower_maximum = vec4(LOWEST);
    var upper_total = vec4<f32>();
    var lower_total = vec4<f32>();

    for (var block = 0u; block < keys; block += KEYS) {
        // [4 keys, 8 queries]
        var scores = array<vec4<f32>, 8>();
        for (var d0 = 0u; d0 < params.head_dim; d0 += DEPTH) {
            let side = lane / (DEPTH / 4) * 4;
            let depth = lane % (DEPTH / 4) * 4;
            let query_columns = transpose(query_block(query0, side, item.y, d0 + depth));
            var key_columns = mat4x4<f32>();
            if side < KEYS {
                key_columns = transpose(key_block(key0, block + side, keys, d0 + depth));
            }
            workgroupBarrier();
            //! unroll i 4
            operands[(depth + $i) * (QUERIES / 4) + side / 4] = query_columns[$i];
            //! end
            if side < KEYS {
                //! unroll i 4
                operands[KEY_SLAB + (depth + $i) * (KEYS / 4) + side / 4] = key_columns[$i];
                //! end
            }
            workgroupBarrier();
            if works {
                for (var d = 0u; d < DEPTH; d += 8) {
                    let query_at = d * (QUERIES / 4) + local.y * 2;
                    let key_at = KEY_SLAB + d * (KEYS / 4) + local.x;
                    //! unroll j 8
                    {
                        let upper = operands[query_at + $j * (QUERIES / 4)];
                        let lower = operands[query_at + $j * (QUERIES / 4) + 1];
                        let key = operands[key_at + $j * (KEYS / 4)];
                        //! unroll i 4
                        scores[2 * $i] += key[$i] * upper;
                        scores[2 * $i + 1] += key[$i] * lower;
                        //! end
                    }
                    //! end
                }
            }
        }

        // A key that a query does not see does not count for its maximum and has weight 0.
        let key = block + local.x * 4;
        var upper = vec4(LOWEST);
        var lower = vec4(LOWEST);
        //! unroll i 4
        let upper_sees_$i = vec4(key + $i) < vec4(visible) + more * vec4(0, 1, 2, 3);
        let lower_sees_$i = vec4(key + $i) < vec4(visible) + more * vec4(4, 5, 6, 7);
        upper = max(upper, select(vec4(LOWEST), scores[2 * $i], upper_sees_$i));
        lower = max(lower, select(vec4(LOWEST), scores[2 * $i + 1], lower_sees_$i));
        //! end
        workgroupBarrier();
        operands[lane * 2] = upper;
        operands[lane * 2 + 1] = lower;
        workgroupBarrier();
        upper = upper_maximum;
        lower = lower_maximum;
        //! unroll i 8
        upper = max(upper, operands[(local.y * 8 + $i) * 2]);
        lower = max(lower, operands[(local.y * 8 + $i) * 2 + 1]);
        //! end
        let upper_rescale = exp(upper_maximum - upper);
        let lower_rescale = exp(lower_maximum - lower);
        upper_maximum = upper;
        lower_maximum = lower;
        upper_total *= upper_rescale;
        lower_total *= lower_rescale;
        //! unroll i 4
        sums[2 * $i] *= upper_rescale[$i];
        sums[2 * $i + 1] *= upper_rescale[$i];
        sums[2 * $i + 8] *= lower_rescale[$i];
        sums[2 * $i + 9] *= lower_rescale[$i];
        let upper_weight_$i = select(vec4<f32>(), exp(scores[2 * $i] - upper), upper_sees_$i);
        let lower_weight_$i = select(vec4<f32>(), exp(scores[2 * $i + 1] - lower), lower_sees_$i);
        weights[(local.x * 4 + $i) * (QUERIES / 4) + local.y * 2] = upper_weight_$i;
        weights[(local.x * 4 + $i) * (QUERIES / 4) + local.y * 2 + 1] = lower_weight_$i;
        upper_total += upper_weight_$i;
        lower_total += lower_weight_$i;
        //! end

        workgroupBarrier();
        for (var i = lane; i < KEYS * COLUMNS / 4; i += LANES) {
            operands[i] = value_at(value0, block + i / (COLUMNS / 4), keys, column0 + i % (COLUMNS / 4) * 4);
        }
        workgroupBarrier();
        if works {
            for (var i = 0u; i < KEYS && block + i < keys; i += 8) {
                let weight_at = i * (QUERIES / 4) + local.y * 2;
                let value_at = i * (COLUMNS / 4) + local.x;
                //! unroll j 8
                {
                    let upper = weights[weight_at + $j * (QUERIES / 4)];
                    let lower = weights[weight_at + $j * (QUERIES / 4) + 1];
                    let left = operands[value_at + $j * (COLUMNS / 4)];
                    let right = operands[value_at + $j * (COLUMNS / 4) + COLUMNS / 8];
                    //! unroll q 4
                    sums[2 * $q] += upper[$q] * left;
                    sums[2 * $q + 1] += upper[$q] * right;
                    sums[2 * $q + 8] += lower[$q] * left;
                    sums[2 * $q + 9] += lower[$q] * right;
                    //! end
                }
                //! end
            }
        }
    }

    // Adds up the totals over the keys of all invocations.
    workgroupBarrier();
    operands[lane * 2] = upper_total;
    operands[lane * 2 + 1] = lower_total;
    workgroupBarrier();
    upper_total = vec4<f32>();
    lower_total = vec4<f32>();
    //! unroll i 8
    upper_total += operands[(local.y * 8 + $i) * 2];
    lower_total += operands[(local.y * 8 + $i) * 2 + 1];
    //! end
    let out0 = params.out_base + (item.x + first_query) * params.width + head * params.head_dim;
    let column = column0 + local.x * 4;
    //! unroll i 4
    if first_query + $i < item.y {
        store(out0 + $i * params.width, column, sums[2 * $i] / upper_total[$i]);
        store(out0 + $i * params.width, column + COLUMNS / 2, sums[2 * $i + 1] / upper_total[$i]);
    }
    if first_query + $i + 4 < item.y {
        store(out0 + ($i + 4) * params.width, column, sums[2 * $i + 8] / lower_total[$i]);
        store(out0 + ($i + 4) * params.width, column + COLUMNS / 2, sums[2 * $i + 9] / lower_total[$i]);
    }
    //! end
}

// Stores four columns of a query's sums, as far as the head has them.
fn store(at: u32, column: u32, sums: vec4<f32>) {
    //! unroll i 4
    if column + $i < params.head_dim {
        out[at + column + $i] = sums[$i];
    }
    //! end
}

// Four columns of four queries, scaled.
fn query_block(start: u32, query: u32, end: u32, d: u32) -> mat4x4<f32> {
    return params.scale * mat4x4(
        query_at(start, query, end, d),
        query_at(start, query + 1, end, d),
        query_at(start, query + 2, end, d),
        query_at(start, query + 3, end, d),
    );
}

// Four columns of four keys.
fn key_block(start: u32, key: u32, end: u32, d: u32) -> mat4x4<f32> {
    return mat4x4(
        value_at(start, key, end, d),
        value_at(start, key + 1, end, d),
        value_at(start, key + 2, end, d),
        value_at(start, key + 3, end, d),
    );
}

// Four columns of a query, zero past the last query and beyond the head.
fn query_at(start: u32, query: u32, end: u32, d: u32) -> vec4<f32> {
    var vector = vec4<f32>();
    if query >= end {
        return vector;
    }
    let at = start + query * params.width + d;
    if params.head_dim % 4 == 0 {
        if d < params.head_dim {
            vector = queries[at / 4];
        }
        return vector;
    }
    //! unroll i 4
    if d + $i < params.head_dim {
        vector[$i] = queries[(at + $i) / 4][(at + $i) % 4];
    }
    //! end
    return vector;
}

// Four columns of a key or value, zero past the last key and beyond the head.
fn value_at(start: u32, key: u32, end: u32, d: u32) -> vec4<f32> {
    var vector = vec4<f32>();
    if key >= end {
        return vector;
    }
    let at = start + key * 2 * params.width + d;
    if params.head_dim % 4 == 0 {
        if d < params.head_dim {
            vector = keys_values[at / 4];
        }
        return vector;
    }
    //! unroll i 4
    if d + $i < params.head_dim {
        vector[$i] = keys_values[(at + $i) / 4][(at + $i) % 4];
    }
    //! end
    return vector;
}
