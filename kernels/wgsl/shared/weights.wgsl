// Packed weights: f32, or two f16 or bf16 in a word, the lower half first. Widened with core WGSL, without an optional
// feature.

const F32: u32 = 0;
const F16: u32 = 1;
const BF16: u32 = 2;

// How weights are stored: F32, F16 or BF16.
override STORAGE: u32 = F32;

// The two elements of a word of halves, widened to f32.
fn widen_pair(word: u32) -> vec2<f32> {
    if STORAGE == F16 {
        return unpack2x16float(word);
    }
    return bitcast<vec2<f32>>(vec2(word << 16, word & 0xffff0000));
}

// The word that holds element `i`.
fn word_of(i: u32) -> u32 {
    return select(i / 2, i, STORAGE == F32);
}

// Element `i` of its word, widened to f32.
fn widen(word: u32, i: u32) -> f32 {
    if STORAGE == F32 {
        return bitcast<f32>(word);
    }
    let pair = widen_pair(word);
    return select(pair.x, pair.y, i % 2 == 1);
}
