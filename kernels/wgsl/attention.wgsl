// attention: softmax(q kᵀ / √d) v for each sequence and head.
//
// queries and out [·, width], keys_values [·, 2·width] (keys, then values); head h takes columns h·d .. (h+1)·d.
// Workgroup: up to 8 queries of a sequence, one head, up to 128 columns of it.
// Workgroup memory: the scores of 8 queries for 128 keys and 32 columns of the queries, 5.6 KiB. The keys are walked
// in blocks of 128; from the second block on the sums so far are scaled to the new maximum (online softmax).

const QUERIES: u32 = 8;
const KEYS: u32 = 128;
const PIECE: u32 = 32;
// Invocations that share a query's softmax: KEYS / QUERIES.
const SHARE: u32 = 16;

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
@group(0) @binding(1) var<storage, read> queries: array<f32>;
@group(0) @binding(2) var<storage, read> keys_values: array<f32>;
// Per workgroup: the first query row, their number, the first key row, the keys that the first query sees.
@group(0) @binding(3) var<storage, read> items: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

var<workgroup> query_piece: array<f32, QUERIES * PIECE>;
var<workgroup> scores: array<f32, QUERIES * KEYS>;
var<workgroup> partial: array<f32, KEYS>;
// Of each query: the maximum so far, the sum of its weights, and what its older sums are scaled by.
var<workgroup> maxima: array<f32, QUERIES>;
var<workgroup> totals: array<f32, QUERIES>;
var<workgroup> rescale: array<f32, QUERIES>;

@compute @workgroup_size(KEYS)
fn attention(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // x and y count the items; z the heads, and within them the blocks of 128 columns.
    let index = group.x + group.y * groups.x;
    if index >= params.items {
        return;
    }
    let item = items[index];
    let blocks = (params.head_dim + KEYS - 1) / KEYS;
    let head = group.z / blocks;
    let column = group.z % blocks * KEYS + lane;
    let query0 = params.queries_base + item.x * params.width + head * params.head_dim;
    let key0 = params.keys_values_base + item.z * 2 * params.width + head * params.head_dim;
    let value0 = key0 + params.width + column;
    let keys = item.w + select(0, item.y - 1, params.causal == 1);

    if lane < QUERIES {
        maxima[lane] = -3.4e38;
        totals[lane] = 0;
    }
    var sums = array<f32, QUERIES>();
    for (var block = 0u; block < keys; block += KEYS) {
        // One key an invocation.
        let key = block + lane;
        var dots = array<f32, QUERIES>();
        for (var d0 = 0u; d0 < params.head_dim; d0 += PIECE) {
            workgroupBarrier();
            for (var i = lane; i < QUERIES * PIECE; i += KEYS) {
                let query = i / PIECE;
                let d = d0 + i % PIECE;
                var q = 0.0;
                if query < item.y && d < params.head_dim {
                    q = queries[query0 + query * params.width + d] * params.scale;
                }
                query_piece[i] = q;
            }
            workgroupBarrier();
            if key < keys {
                let end = min(PIECE, params.head_dim - d0);
                for (var d = 0u; d < end; d++) {
                    let k = keys_values[key0 + key * 2 * params.width + d0 + d];
                    for (var query = 0u; query < QUERIES; query++) {
                        dots[query] += query_piece[query * PIECE + d] * k;
                    }
                }
            }
        }
        for (var query = 0u; query < QUERIES; query++) {
            scores[query * KEYS + lane] = dots[query];
        }
        workgroupBarrier();

        // 16 invocations a query: the maximum, then the weights, then their sum.
        let query = lane / SHARE;
        let visible = item.w + select(0, query, params.causal == 1);
        let end = min(KEYS, max(visible, block) - block);
        var maximum = maxima[query];
        for (var i = lane % SHARE; i < end; i += SHARE) {
            maximum = max(maximum, scores[query * KEYS + i]);
        }
        partial[lane] = maximum;
        workgroupBarrier();
        for (var i = 0u; i < SHARE; i++) {
            maximum = max(maximum, partial[query * SHARE + i]);
        }
        workgroupBarrier();
        var total = 0.0;
        for (var i = lane % SHARE; i < KEYS; i += SHARE) {
            var weight = 0.0;
            if i < end {
                weight = exp(scores[query * KEYS + i] - maximum);
            }
            scores[query * KEYS + i] = weight;
            total += weight;
        }
        partial[lane] = total;
        workgroupBarrier();
        if lane % SHARE == 0 {
            let older = exp(maxima[query] - maximum);
            total = totals[query] * older;
            for (var i = 0u; i < SHARE; i++) {
                total += partial[lane + i];
            }
            maxima[query] = maximum;
            totals[query] = total;
            rescale[query] = older;
        }
        workgroupBarrier();

        // One column an invocation.
        for (var query = 0u; query < QUERIES; query++) {
            sums[query] *= rescale[query];
        }
        if column < params.head_dim {
            let end = min(KEYS, keys - block);
            for (var i = 0u; i < end; i++) {
                let v = keys_values[value0 + (block + i) * 2 * params.width];
                for (var query = 0u; query < QUERIES; query++) {
                    sums[query] += scores[query * KEYS + i] * v;
                }
            }
        }
    }
    workgroupBarrier();
    if column < params.head_dim {
        for (var query = 0u; query < item.y; query++) {
            let at = params.out_base + (item.x + query) * params.width + head * params.head_dim + column;
            out[at] = sums[query] / totals[query];
        }
    }
}
