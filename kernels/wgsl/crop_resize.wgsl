// crop_resize: cut, resample as Pillow does, normalise and patchify.
//
// picture [height, width, 3] bytes, out [views · (S/P)², 3·P·P]. Two passes, horizontal first, each
// clip8((2²¹ + Σ w·v) >> 22) with integer weights and bytes in between: the same bytes as every other backend.
// Workgroup: 16×16 pixels of one view, one invocation each.
// Workgroup memory: 64 rows of 16 horizontally resampled pixels, 4 KiB; taller supports go through it in bands.
// A binding may hold only some rows of the picture: each dispatch then continues the sums of the one before it.

const TILE: u32 = 16;
const BAND: u32 = 64;
// Pillow's fixed point (Resample.c).
const PRECISION_BITS: u32 = 22;

struct Params {
    // Width of the picture, side of a view, side of a patch.
    width: u32,
    size: u32,
    patch_side: u32,
    // The range of the picture's rows in the binding.
    first_row: u32,
    end_row: u32,
    // Where the rows of the dispatch's first view begin in the binding of out, in elements.
    out_base: u32,
    // Whether these rows include the views' first and last rows.
    is_first: u32,
    is_last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> picture: array<u32>;
// Per view: left and upper edge, and the taps of its columns and of its rows.
@group(0) @binding(2) var<storage, read> views: array<vec4<u32>>;
// [sets, S]: the first pixel, the first weight, the number of weights.
@group(0) @binding(3) var<storage, read> taps: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> weights: array<i32>;
// [3, 256]: the normalised value of each byte of each channel.
@group(0) @binding(5) var<storage, read> table: array<f32>;
// [views, S, S, 3]: partial sums between dispatches.
@group(0) @binding(6) var<storage, read_write> partial: array<i32>;
@group(0) @binding(7) var<storage, read_write> out: array<f32>;

var<workgroup> band: array<u32, BAND * TILE>;

@compute @workgroup_size(TILE, TILE)
fn crop_resize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params.size;
    let view = views[group.z];
    let x = group.x * TILE + local.x;
    let y = group.y * TILE + local.y;
    let inside = x < size && y < size;
    let partial_at = ((group.z * size + y) * size + x) * 3;

    var sum = vec3<i32>(1 << (PRECISION_BITS - 1));
    if params.is_first == 0 && inside {
        sum = vec3(partial[partial_at], partial[partial_at + 1], partial[partial_at + 2]);
    }

    // The rows that this tile reads, counted from the crop's upper edge, as far as the binding has them.
    let top = taps[view.w * size + group.y * TILE];
    let bottom = taps[view.w * size + min(group.y * TILE + TILE, size) - 1];
    let first = max(view.y + top.x, params.first_row) - view.y;
    let end = min(view.y + bottom.x + bottom.z, params.end_row) - min(view.y, params.end_row);
    let tap = taps[view.w * size + min(y, size - 1)];
    for (var row0 = first; row0 < end; row0 += BAND) {
        for (var i = lane; i < BAND * TILE; i += TILE * TILE) {
            let row = row0 + i / TILE;
            let column = group.x * TILE + i % TILE;
            if row < end && column < size {
                band[i] = horizontal(view.x, view.y + row, taps[view.z * size + column]);
            }
        }
        workgroupBarrier();
        let row_end = min(tap.x + tap.z, min(row0 + BAND, end));
        for (var row = max(tap.x, row0); row < row_end; row++) {
            sum += weights[tap.y + row - tap.x] * unpack(band[(row - row0) * TILE + local.x]);
        }
        workgroupBarrier();
    }

    if !inside {
        return;
    }
    if params.is_last == 0 {
        partial[partial_at] = sum.x;
        partial[partial_at + 1] = sum.y;
        partial[partial_at + 2] = sum.z;
        return;
    }
    let patch_side = params.patch_side;
    let grid = size / patch_side;
    let row = (group.z * grid + y / patch_side) * grid + x / patch_side;
    let bytes = clip8(sum);
    let at = params.out_base + row * 3 * patch_side * patch_side + y % patch_side * patch_side + x % patch_side;
    //! unroll c 3
    out[at + $c * patch_side * patch_side] = table[$c * 256 + u32(bytes[$c])];
    //! end
}

// One pixel of the horizontal pass, its bytes packed in a word.
fn horizontal(x0: u32, y: u32, tap: vec4<u32>) -> u32 {
    var sum = vec3<i32>(1 << (PRECISION_BITS - 1));
    let start = ((y - params.first_row) * params.width + x0 + tap.x) * 3;
    for (var i = 0u; i < tap.z; i++) {
        sum += weights[tap.y + i] * unpack(pixel(start + i * 3));
    }
    let bytes = vec3<u32>(clip8(sum));
    return bytes.x | (bytes.y << 8) | (bytes.z << 16);
}

// The three bytes from byte `at` on; they may straddle two words.
fn pixel(at: u32) -> u32 {
    let shift = at % 4 * 8;
    var word = picture[at / 4] >> shift;
    if shift > 8 {
        word |= picture[at / 4 + 1] << (32 - shift);
    }
    return word;
}

fn unpack(word: u32) -> vec3<i32> {
    return vec3<i32>(vec3(word & 255, (word >> 8) & 255, (word >> 16) & 255));
}

fn clip8(sum: vec3<i32>) -> vec3<i32> {
    return clamp(sum >> vec3(PRECISION_BITS), vec3(0), vec3(255));
}
