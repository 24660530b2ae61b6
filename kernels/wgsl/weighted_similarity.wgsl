// weighted_similarity: out[p, c] = Σᵢ wᵢ · reduction over j in class c of (vⱼ, sᵢⱼ), sᵢⱼ = views[i]·texts[j].
//
// views [V, width], view_weights [V], texts [T, stride] packed, text_weights [T],
// pictures [P + 1], classes [C + 1], out [P, C]; f32 sums.
// Workgroup: one class of one picture; one view per invocation, 64 at a time, against tiles of 8 texts.
// Workgroup memory: 32 columns of 8 texts and 64 partial sums, 1.3 KiB. The matrix of similarities is never stored.
// The best k are selected 8 at a time: each round continues where the last one ended.
//! import shared/reduce.wgsl
//! import shared/weights.wgsl

const TEXTS: u32 = 8;
const PIECE: u32 = 32;
const BEST: u32 = 8;

struct Params {
    width: u32,
    // Leading dimension: elements from one text to the next.
    stride: u32,
    // How many of a class's texts count: 0 for all of them, as a weighted sum.
    best: u32,
    // The dispatch's first class and number of classes, the number of all classes, and the first text in the binding of
    // texts.
    first_class: u32,
    classes: u32,
    all_classes: u32,
    first_text: u32,
    // Where that text begins in its binding, in elements.
    texts_base: u32,
    // The dispatch's first picture.
    first_picture: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> views: array<f32>;
@group(0) @binding(2) var<storage, read> view_weights: array<f32>;
@group(0) @binding(3) var<storage, read> texts: array<u32>;
@group(0) @binding(4) var<storage, read> text_weights: array<f32>;
@group(0) @binding(5) var<storage, read> pictures: array<u32>;
@group(0) @binding(6) var<storage, read> classes: array<u32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

var<workgroup> text_piece: array<f32, TEXTS * PIECE>;

// This round's best texts of a view, sorted: their number, similarities and indices.
var<private> found: u32;
var<private> best: array<f32, BEST>;
var<private> best_text: array<u32, BEST>;

@compute @workgroup_size(LANES)
fn weighted_similarity(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if index >= params.classes {
        return;
    }
    let class_index = params.first_class + index;
    let begin = classes[class_index];
    let end = classes[class_index + 1];
    let wanted = min(params.best, end - begin);
    let picture = params.first_picture + group.z;
    let views_end = pictures[picture + 1];

    var score = 0.0;
    for (var view0 = pictures[picture]; view0 < views_end; view0 += LANES) {
        let view = view0 + lane;
        var weighted = 0.0; // Σ v·s
        var weights = 0.0; // Σ v
        // The last text that was selected: later ones have a lower similarity, or the same one and a higher index.
        var last = 3.4e38;
        var last_text = 0u;
        for (var taken = 0u; taken < max(wanted, 1); taken += BEST) {
            found = 0;
            for (var text0 = begin; text0 < end; text0 += TEXTS) {
                let similarities = similarity_tile(lane, view, views_end, text0, end);
                // Shifted by one after each text: the next text's similarity is always near.x.
                var near = vec4(similarities[0], similarities[1], similarities[2], similarities[3]);
                var far = vec4(similarities[4], similarities[5], similarities[6], similarities[7]);
                for (var text = text0; text < min(text0 + TEXTS, end); text++) {
                    let similarity = near.x;
                    near = vec4(near.yzw, far.x);
                    far = vec4(far.yzw, 0);
                    // An invocation past the last view has nothing to reduce; a text of weight 0 is masked out.
                    let weight = text_weights[text];
                    let after = similarity < last || (similarity == last && text > last_text);
                    if view >= views_end {
                        continue;
                    } else if params.best == 0 {
                        weighted += weight * similarity;
                    } else if weight != 0 && (taken == 0 || after) {
                        insert(similarity, text);
                    }
                }
            }
            let count = min(found, wanted - min(taken, wanted));
            //! unroll i 8
            if $i < count {
                let weight = text_weights[best_text[$i]];
                weighted += weight * best[$i];
                weights += weight;
                last = best[$i];
                last_text = best_text[$i];
            }
            //! end
            // The round is not full: no text is left.
            if found < BEST {
                last = -3.4e38;
                last_text = 0xffffffff;
            }
        }
        var reduced = weighted;
        if params.best > 0 {
            reduced = select(weighted / weights, 0, weights == 0);
        }
        var share = 0.0;
        if view < views_end {
            share = view_weights[view] * reduced;
        }
        score += sum_of_lanes(lane, share);
    }
    if lane == 0 {
        out[picture * params.all_classes + class_index] = score;
    }
}

// Inserts a text into the sorted list behind its equals, which have lower indices; the last one drops out.
fn insert(similarity: f32, text: u32) {
    var next = similarity;
    var next_text = text;
    var moves = false;
    //! unroll i 8
    moves = moves || $i >= found || next > best[$i];
    if moves {
        let value = best[$i];
        let index = best_text[$i];
        best[$i] = next;
        best_text[$i] = next_text;
        next = value;
        next_text = index;
    }
    //! end
    found = min(found + 1, BEST);
}

// The similarities of this invocation's view to 8 texts, summed over the columns first to last.
fn similarity_tile(lane: u32, view: u32, views_end: u32, text0: u32, end: u32) -> array<f32, TEXTS> {
    var sums = array<f32, TEXTS>();
    for (var k0 = 0u; k0 < params.width; k0 += PIECE) {
        workgroupBarrier();
        for (var i = lane; i < TEXTS * PIECE; i += LANES) {
            let text = text0 + i / PIECE;
            let k = k0 + i % PIECE;
            var value = 0.0;
            if text < end && k < params.width {
                let at = params.texts_base + (text - params.first_text) * params.stride + k;
                value = widen(texts[word_of(at)], at);
            }
            text_piece[i] = value;
        }
        workgroupBarrier();
        if view < views_end {
            let count = min(PIECE, params.width - k0);
            for (var k = 0u; k < count; k++) {
                let f = views[view * params.width + k0 + k];
                //! unroll j 8
                sums[$j] += f * text_piece[$j * PIECE + k];
                //! end
            }
        }
    }
    return sums;
}
