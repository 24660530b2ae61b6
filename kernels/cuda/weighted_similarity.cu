// weighted_similarity on tensor cores: out[p, c] = Σᵢ wᵢ · reduction over j in class c of (vⱼ, sᵢⱼ),
// sᵢⱼ = views[i]·texts[j].
//
// views [V, width] f32, rounded to f16, view_weights [V], texts [T, stride] f16, text_weights [T],
// pictures [P + 1], classes [C + 1], out [P, C]; f16 products, f32 sums.
// Block: one class of one picture; tiles of 64 views × 64 texts, 16 views per warp; then one thread per view reduces
// its row.
// Shared memory: 64 columns of both operands, padded so that the rows of an 8×8 matrix lie in different banks, and a
// tile of similarities, 34.3 KiB. The matrix of similarities is never stored.
#include "class_reduction.cuh"
#include "element.cuh"

namespace {

constexpr unsigned THREADS = 128;
constexpr unsigned VIEWS = 64;
constexpr unsigned TEXTS = 64;
constexpr unsigned DEPTH = 64;
constexpr unsigned CHUNK = 8;
constexpr unsigned PITCH = DEPTH + CHUNK;
// One column of padding, so that the threads' rows begin in different banks.
constexpr unsigned TILE_PITCH = TEXTS + 1;

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    weighted_similarity_f16(WeightedSimilarityParams params, const float* views, const float* view_weights,
                            const __half* texts, const float* text_weights, const unsigned* pictures,
                            const unsigned* classes, float* out) {
    __shared__ __align__(16) __half view_slab[VIEWS * PITCH];
    __shared__ __align__(16) __half text_slab[TEXTS * PITCH];
    __shared__ float tile[VIEWS * TILE_PITCH];
    __shared__ float warps[VIEWS / 32];
    const unsigned thread = threadIdx.x;
    const unsigned lane = thread % 32;
    const unsigned warp = thread / 32;
    const unsigned begin = classes[blockIdx.x];
    const unsigned end = classes[blockIdx.x + 1];
    const unsigned views_end = pictures[blockIdx.y + 1];
    const unsigned wanted = min(params.best, end - begin);

    // Computes the similarities of 64 views and 64 texts into `tile`, each summed over the columns first to last.
    auto similarities = [&](unsigned view0, unsigned text0) {
        float sums[TEXTS / 8][4] = {};
        for (unsigned k0 = 0; k0 < params.width; k0 += DEPTH) {
            // All threads have read the slabs, and before the first step the tile.
            __syncthreads();
            for (unsigned i = thread; i < TEXTS * DEPTH / CHUNK; i += THREADS) {
                const unsigned row = i / (DEPTH / CHUNK);
                const unsigned chunk = i % (DEPTH / CHUNK) * CHUNK;
                // Texts are padded with zeros from the width to the stride.
                const bool inside = text0 + row < end && k0 + chunk < params.stride;
                const __half* from = texts + (inside ? size_t(text0 + row) * params.stride + k0 + chunk : 0);
                ptx::cp_async_16(text_slab + row * PITCH + chunk, from, inside ? 16 : 0);
            }
            ptx::cp_async_commit();
            for (unsigned i = thread; i < VIEWS * DEPTH; i += THREADS) {
                const unsigned view = view0 + i / DEPTH;
                const unsigned k = k0 + i % DEPTH;
                const bool inside = view < views_end && k < params.width;
                store(view_slab + i / DEPTH * PITCH + i % DEPTH, inside ? views[size_t(view) * params.width + k] : 0);
            }
            ptx::cp_async_wait<0>();
            __syncthreads();
#pragma unroll
            for (unsigned k = 0; k < DEPTH / 16; k++) {
                ptx::u32 a[4];
                ptx::ldmatrix_x4(a, view_slab + (warp * 16 + lane % 16) * PITCH + k * 16 + lane / 16 * CHUNK);
#pragma unroll
                for (unsigned n = 0; n < TEXTS / 8; n += 2) {
                    const unsigned row = n * 8 + lane / 16 * 8 + lane % 8;
                    ptx::u32 both[4];
                    ptx::ldmatrix_x4(both, text_slab + row * PITCH + k * 16 + lane / 8 % 2 * CHUNK);
                    const ptx::u32 first[2] = {both[0], both[1]};
                    const ptx::u32 second[2] = {both[2], both[3]};
                    ptx::mma_16x8x16(sums[n], a, first);
                    ptx::mma_16x8x16(sums[n + 1], a, second);
                }
            }
        }
#pragma unroll
        for (unsigned n = 0; n < TEXTS / 8; n++) {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) {
                const unsigned row = warp * 16 + i / 2 * 8 + lane / 4;
                tile[row * TILE_PITCH + n * 8 + lane % 4 * 2 + i % 2] = sums[n][i];
            }
        }
        __syncthreads();
    };

    float score = 0;
    for (unsigned view0 = pictures[blockIdx.y]; view0 < views_end; view0 += VIEWS) {
        const unsigned view = view0 + thread;
        const bool reduces = thread < VIEWS && view < views_end;
        ClassReduction reduction;
        for (unsigned taken = 0; taken < max(wanted, 1u); taken += BEST) {
            reduction.begin_round();
            for (unsigned text0 = begin; text0 < end; text0 += TEXTS) {
                similarities(view0, text0);
                const unsigned count = reduces ? min(TEXTS, end - text0) : 0;
                for (unsigned j = 0; j < count; j++) {
                    const float similarity = tile[thread * TILE_PITCH + j];
                    reduction.add(params.best, taken, text0 + j, text_weights[text0 + j], similarity);
                }
            }
            reduction.end_round(wanted - min(taken, wanted), text_weights);
        }
        if (thread < VIEWS) {
            const float sum = sum_of_lanes(reduces ? view_weights[view] * reduction.value(params.best) : 0);
            if (lane == 0) warps[warp] = sum;
        }
        __syncthreads();
        for (unsigned i = 0; i < VIEWS / 32; i++) score += warps[i];
        __syncthreads();
    }
    if (thread == 0) out[size_t(blockIdx.y) * params.classes + blockIdx.x] = score;
}
