// crop_resize: cut, resample as Pillow does, normalise and patchify.
//
// pictures [height, width, 3] bytes in whole words, out [views · (S/P)², 3·P·P] f32 or f16. Two passes, horizontal first, each
// clip8((2²¹ + Σ w·v) >> 22) with integer weights and bytes in between: the same bytes as every other backend.
// Block: 16×16 pixels of one view, one thread each.
// Shared memory: 64 rows of 16 horizontally resampled pixels, 4 KiB; taller supports go through it in bands.
#include "element.cuh"

namespace {

constexpr unsigned TILE = 16;
constexpr unsigned BAND = 64;
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

struct Sum {
    int red, green, blue;
};

__device__ __forceinline__ Sum half_of_the_unit() {
    const int half = 1 << (PRECISION_BITS - 1);
    return {half, half, half};
}

__device__ __forceinline__ void add(Sum& sum, int weight, unsigned bytes) {
    sum.red += weight * int(bytes & 255);
    sum.green += weight * int(bytes >> 8 & 255);
    sum.blue += weight * int(bytes >> 16 & 255);
}

__device__ __forceinline__ unsigned clip8(int sum) { return unsigned(min(max(sum >> PRECISION_BITS, 0), 255)); }

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

// One pixel of the horizontal pass, its bytes packed in a word.
__device__ __forceinline__ unsigned horizontal(const unsigned char* pixel, const uint4& tap, const int* weights) {
    Sum sum = half_of_the_unit();
    weights += tap.y;
    if (tap.z < 4) {
#pragma unroll 1
        for (unsigned i = 0; i < tap.z; i++, pixel += 3) {
            add(sum, weights[i], pixel[0] | unsigned(pixel[1]) << 8 | unsigned(pixel[2]) << 16);
        }
    } else {
        for (unsigned i = 0; i < tap.z; i += 4) {
            // The last four pixels end with the last tap: those that the four before have in common with them count once.
            const unsigned first = min(i, tap.z - 4);
            unsigned four[3];
            load_four(pixel + first * 3, four);
            add(sum, first < i ? 0 : weights[first], four[0]);
            add(sum, first + 1 < i ? 0 : weights[first + 1], four[0] >> 24 | four[1] << 8);
            add(sum, first + 2 < i ? 0 : weights[first + 2], four[1] >> 16 | four[2] << 16);
            add(sum, weights[first + 3], four[2] >> 8);
        }
    }
    return clip8(sum.red) | clip8(sum.green) << 8 | clip8(sum.blue) << 16;
}

// views: for each view two vectors: left and upper edge, the taps of its columns and of its rows; then the address (in
// halves) and width of its picture. taps [sets, S]: the first pixel, the first weight, the number of weights.
// table [3, 256]: the normalised value of each byte of each channel.
template <typename Out>
__device__ __forceinline__ void crop_resize(const CropResizeParams& params, const uint4* views, const uint4* taps, const int* weights,
                                            const float* table, Out* out) {
    __shared__ unsigned band[BAND * TILE];
    const unsigned size = params.size;
    const uint4 view = views[2 * blockIdx.x];
    const uint4 source = views[2 * blockIdx.x + 1];
    const unsigned char* picture = reinterpret_cast<const unsigned char*>(size_t(source.y) << 32 | source.x);
    const unsigned x = blockIdx.y * TILE + threadIdx.x;
    const unsigned y = blockIdx.z * TILE + threadIdx.y;

    // The rows that this tile reads, counted from the crop's upper edge.
    const uint4 top = taps[view.w * size + blockIdx.z * TILE];
    const uint4 bottom = taps[view.w * size + min(blockIdx.z * TILE + TILE, size) - 1];
    const unsigned end = bottom.x + bottom.z;
    const uint4 tap = taps[view.w * size + min(y, size - 1)];
    const uint4 across = taps[view.z * size + min(x, size - 1)];
    const unsigned char* column = picture + (size_t(view.x) + across.x) * 3;
    Sum sum = half_of_the_unit();
    for (unsigned row0 = top.x; row0 < end; row0 += BAND) {
        const unsigned band_end = min(row0 + BAND, end);
        for (unsigned row = row0 + threadIdx.y; row < band_end && x < size; row += TILE) {
            const unsigned char* pixel = column + size_t(view.y + row) * source.z * 3;
            band[(row - row0) * TILE + threadIdx.x] = horizontal(pixel, across, weights);
        }
        __syncthreads();
        const unsigned row_end = min(tap.x + tap.z, band_end);
        for (unsigned row = max(tap.x, row0); row < row_end && x < size; row++) {
            add(sum, weights[tap.y + row - tap.x], band[(row - row0) * TILE + threadIdx.x]);
        }
        __syncthreads();
    }

    if (x >= size || y >= size) return;
    const unsigned patch_side = params.patch_side;
    const unsigned grid = size / patch_side;
    const size_t row = params.first_row + (size_t(blockIdx.x) * grid + y / patch_side) * grid + x / patch_side;
    out += row * params.out_stride;
    const int sums[3] = {sum.red, sum.green, sum.blue};
    for (unsigned c = 0; c < 3; c++) {
        const unsigned column = (c * patch_side + y % patch_side) * patch_side + x % patch_side;
        store(out + column, table[c * 256 + clip8(sums[c])]);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 5) crop_resize_f32(CropResizeParams params, const uint4* views,
                                           const uint4* taps, const int* weights, const float* table, float* out) {
    crop_resize(params, views, taps, weights, table, out);
}

extern "C" __global__ void __launch_bounds__(256, 5) crop_resize_f16(CropResizeParams params, const uint4* views,
                                           const uint4* taps, const int* weights, const float* table, __half* out) {
    crop_resize(params, views, taps, weights, table, out);
}
