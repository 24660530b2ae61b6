// crop_resize: cut, resample as Pillow does, normalise and patchify.
//
// pictures [height, width, 3] bytes in whole words, out [views · (S/P)², 3·P·P] f32 or f16. Two passes, horizontal first, each
// clip8((2²¹ + Σ w·v) >> 22) with integer weights and bytes in between: the same bytes as every other backend.
// Block: 16×16 pixels of one view, one thread each; in the horizontal pass a thread has four rows of a column.
// Shared memory: 128 rows of 16 horizontally resampled pixels, 6 KiB; taller supports go through it in bands.
//
// Both passes take four taps at once: dp4a multiplies four bytes of a channel by four signed bytes of weights. A weight has
// three such digits, w = low + 2⁸ middle + 2¹⁶ high, whose sums are put together at the end: exact, as in Pillow.
#include "element.cuh"

namespace {

constexpr unsigned TILE = 16;
// Rows that a thread resamples horizontally, one byte of each in a word.
constexpr unsigned FOUR = 4;
constexpr unsigned BAND = 128;
// A band ends where the next one begins to read four rows.
constexpr unsigned BAND_STEP = BAND - FOUR;
constexpr unsigned CHANNELS = 3;
// Pillow's fixed point (Resample.c).
constexpr unsigned PRECISION_BITS = 22;

struct CropResizeParams {
    // Side of a view, side of a patch.
    unsigned size;
    unsigned patch_side;
    unsigned out_stride;
    // The row of out that the first view begins at.
    unsigned first_row;
};

// A channel's sums with the three digits of the weights.
struct Sum {
    int low, middle, high;
};

// The sums of no taps, rounded to nearest.
__device__ __forceinline__ Sum no_taps() { return {1 << (PRECISION_BITS - 1), 0, 0}; }

__device__ __forceinline__ void add(Sum& sum, const uint4& weights, unsigned bytes) {
    sum.low = ptx::dp4a(bytes, weights.x, sum.low);
    sum.middle = ptx::dp4a(bytes, weights.y, sum.middle);
    sum.high = ptx::dp4a(bytes, weights.z, sum.high);
}

__device__ __forceinline__ unsigned clip8(const Sum& sum) {
    const int whole = int(unsigned(sum.low) + (unsigned(sum.middle) << 8) + (unsigned(sum.high) << 16));
    return unsigned(min(max(whole >> PRECISION_BITS, 0), 255));
}

// The twelve bytes of four neighbouring pixels, from any address on, in three words. They are read by the words that hold
// them: a third of the loads of single bytes.
__device__ __forceinline__ void load_four(const unsigned char* pixel, unsigned (&four)[3]) {
    const unsigned offset = size_t(pixel) % 4;
    const unsigned* words = reinterpret_cast<const unsigned*>(pixel - offset);
    const unsigned last = offset == 0 ? 0 : words[3];
    four[0] = __funnelshift_r(words[0], words[1], offset * 8);
    four[1] = __funnelshift_r(words[1], words[2], offset * 8);
    four[2] = __funnelshift_r(words[2], last, offset * 8);
}

// As load_four of fewer pixels: a crop narrower than four ends with them.
__device__ __forceinline__ void load_some(const unsigned char* pixel, unsigned count, unsigned (&four)[3]) {
    four[0] = four[1] = four[2] = 0;
#pragma unroll 1
    for (unsigned i = count * CHANNELS; i-- > 0;) {
        four[2] = __funnelshift_r(four[1], four[2], 24);
        four[1] = __funnelshift_r(four[0], four[1], 24);
        four[0] = four[0] << 8 | pixel[i];
    }
}

// The sums of the three channels of a pixel.
struct Sums {
    Sum channels[CHANNELS];
};

__device__ __forceinline__ void add(Sums& sums, const uint4& weights, const unsigned (&four)[3]) {
    add(sums.channels[0], weights, __byte_perm(__byte_perm(four[0], four[1], 0x0630), four[2], 0x5210));
    add(sums.channels[1], weights, __byte_perm(__byte_perm(four[0], four[1], 0x0741), four[2], 0x6210));
    add(sums.channels[2], weights, __byte_perm(__byte_perm(four[0], four[1], 0x0052), four[2], 0x7410));
}

// One pixel of the horizontal pass: `line` is the crop's row.
__device__ __forceinline__ Sums horizontal(const unsigned char* line, unsigned crop_width, const uint4& tap,
                                           const uint4* weights) {
    Sums sums = {no_taps(), no_taps(), no_taps()};
    const unsigned char* pixel = line + tap.x * CHANNELS;
    const unsigned offset = size_t(pixel) % 4;
    const unsigned* words = reinterpret_cast<const unsigned*>(pixel - offset);
    weights += tap.y;
    // Four pixels are three words, so that a group's fourth word is the next one's first.
    unsigned word = words[0];
#pragma unroll 1
    for (unsigned group = 1; group < tap.z; group++, words += 3, weights++) {
        const unsigned next = words[3];
        const unsigned four[3] = {__funnelshift_r(word, words[1], offset * 8), __funnelshift_r(words[1], words[2], offset * 8),
                                  __funnelshift_r(words[2], next, offset * 8)};
        add(sums, *weights, four);
        word = next;
    }
    unsigned four[3];
    if (crop_width < FOUR) load_some(line, crop_width, four);
    else load_four(line + tap.w * CHANNELS, four);
    add(sums, *weights, four);
    return sums;
}

// views: for each view two vectors: left and upper edge, the taps of its columns and of its rows; then the address (in
// halves) and width of its picture, and the crop's width and height, at most four of each, in the halves of a word.
// taps [sets, S]: the first group's first pixel, the first group, the number of groups, the last group's first pixel.
// weights: for each group of four taps their low, middle and high digits. The last group ends with the last tap; its weights
// are 0 for the pixels that it has in common with the group before.
// table [3, 256]: the normalised value of each byte of each channel.
template <typename Out>
__device__ __forceinline__ void crop_resize(const CropResizeParams& params, const uint4* views, const uint4* taps,
                                            const uint4* weights, const float* table, Out* out) {
    __shared__ unsigned band[BAND / FOUR][CHANNELS][TILE];
    const unsigned size = params.size;
    const uint4 view = views[2 * blockIdx.x];
    const uint4 source = views[2 * blockIdx.x + 1];
    const unsigned char* picture = reinterpret_cast<const unsigned char*>(size_t(source.y) << 32 | source.x);
    const unsigned crop_width = source.w & 0xffff, crop_height = source.w >> 16;
    const unsigned x = blockIdx.y * TILE + threadIdx.x;
    const unsigned y = blockIdx.z * TILE + threadIdx.y;

    // The rows that this tile reads, counted from the crop's upper edge. A crop of fewer than four repeats its last one,
    // whose weights are then 0.
    const uint4 top = taps[view.w * size + blockIdx.z * TILE];
    const uint4 bottom = taps[view.w * size + min(blockIdx.z * TILE + TILE, size) - 1];
    const unsigned end = bottom.w + FOUR;
    const unsigned last_row = (crop_height < FOUR ? crop_height : end) - 1;
    const uint4 tap = taps[view.w * size + min(y, size - 1)];
    const uint4 across = taps[view.z * size + min(x, size - 1)];
    Sums sums = {no_taps(), no_taps(), no_taps()};
    for (unsigned row0 = top.x; row0 < end; row0 += BAND_STEP) {
        const unsigned fours = (min(BAND, end - row0) + FOUR - 1) / FOUR;
        for (unsigned four = threadIdx.y; four < fours && x < size; four += TILE) {
            unsigned column[CHANNELS] = {0, 0, 0};
#pragma unroll 1
            for (unsigned r = 0; r < FOUR; r++) {
                const unsigned row = min(row0 + four * FOUR + r, last_row);
                const unsigned char* line = picture + (size_t(view.y + row) * source.z + view.x) * CHANNELS;
                const Sums pixel = horizontal(line, crop_width, across, weights);
#pragma unroll
                for (unsigned c = 0; c < CHANNELS; c++) column[c] |= clip8(pixel.channels[c]) << (8 * r);
            }
#pragma unroll
            for (unsigned c = 0; c < CHANNELS; c++) band[four][c][threadIdx.x] = column[c];
        }
        __syncthreads();
#pragma unroll 1
        for (unsigned group = 0; group < tap.z && x < size; group++) {
            const unsigned first = min(tap.x + group * FOUR, tap.w) - row0;
            // Another band's.
            if (first >= BAND_STEP) continue;
            const unsigned offset = first % FOUR;
            const uint4 digits = weights[tap.y + group];
            const unsigned* words = &band[first / FOUR][0][threadIdx.x];
#pragma unroll
            for (unsigned c = 0; c < CHANNELS; c++) {
                const unsigned next = offset == 0 ? 0 : words[(CHANNELS + c) * TILE];
                add(sums.channels[c], digits, __funnelshift_r(words[c * TILE], next, offset * 8));
            }
        }
        __syncthreads();
    }

    if (x >= size || y >= size) return;
    const unsigned patch_side = params.patch_side;
    const unsigned grid = size / patch_side;
    const size_t row = params.first_row + (size_t(blockIdx.x) * grid + y / patch_side) * grid + x / patch_side;
    out += row * params.out_stride;
#pragma unroll
    for (unsigned c = 0; c < CHANNELS; c++) {
        const unsigned column = (c * patch_side + y % patch_side) * patch_side + x % patch_side;
        store(out + column, table[c * 256 + clip8(sums.channels[c])]);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4) crop_resize_f32(CropResizeParams params, const uint4* views,
                                           const uint4* taps, const uint4* weights, const float* table, float* out) {
    crop_resize(params, views, taps, weights, table, out);
}

extern "C" __global__ void __launch_bounds__(256, 4) crop_resize_f16(CropResizeParams params, const uint4* views,
                                           const uint4* taps, const uint4* weights, const float* table, __half* out) {
    crop_resize(params, views, taps, weights, table, out);
}
