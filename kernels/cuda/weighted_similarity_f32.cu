// weighted_similarity in f32: out[p, c] = Σᵢ wᵢ · reduction over j in class c of (vⱼ, sᵢⱼ), sᵢⱼ = views[i]·texts[j].
//
// views [V, width] f32, view_weights [V], texts [T, stride] f32 or bf16, text_weights [T],
// pictures [P + 1], classes [C + 1], out [P, C]; f32 products and sums.
// Block: one class of one picture; one view per thread, 64 at a time, against tiles of 8 texts.
// Shared memory: 32 columns of 8 texts and of 64 views, and a sum of each warp, 9.3 KiB. The matrix of similarities is
// never stored.
#include "class_reduction.cuh"
#include "element.cuh"

namespace {

constexpr unsigned THREADS = 64;
constexpr unsigned TEXTS = 8;
constexpr unsigned PIECE = 32;
// One column of padding, so that the threads' rows begin in different banks.
constexpr unsigned PITCH = PIECE + 1;

// The similarities of this thread's view to 8 texts, summed over the columns first to last.
template <typename Text>
__device__ __forceinline__ void similarity_tile(const WeightedSimilarityParams& params, const float* views,
                                                const Text* texts, unsigned view0, unsigned views_end, unsigned text0, unsigned end,
                                                float* text_piece, float* view_piece, float (&sums)[TEXTS]) {
#pragma unroll
    for (unsigned j = 0; j < TEXTS; j++) sums[j] = 0;
    for (unsigned k0 = 0; k0 < params.width; k0 += PIECE) {
        __syncthreads();
        for (unsigned i = threadIdx.x; i < TEXTS * PIECE; i += THREADS) {
            const unsigned text = text0 + i / PIECE;
            const unsigned k = k0 + i % PIECE;
            const bool inside = text < end && k < params.width;
            text_piece[i] = inside ? widen(texts[size_t(text) * params.stride + k]) : 0;
        }
        for (unsigned i = threadIdx.x; i < THREADS * PIECE; i += THREADS) {
            const unsigned view = view0 + i / PIECE;
            const unsigned k = k0 + i % PIECE;
            const bool inside = view < views_end && k < params.width;
            view_piece[i / PIECE * PITCH + i % PIECE] = inside ? views[size_t(view) * params.width + k] : 0;
        }
        __syncthreads();
        for (unsigned k = 0; k < PIECE; k++) {
            const float f = view_piece[threadIdx.x * PITCH + k];
#pragma unroll
            for (unsigned j = 0; j < TEXTS; j++) sums[j] = fmaf(f, text_piece[j * PIECE + k], sums[j]);
        }
    }
}

template <typename Text>
__device__ __forceinline__ void weighted_similarity(const WeightedSimilarityParams& params, const float* views,
                                                    const float* view_weights, const Text* texts,
                                                    const float* text_weights, const unsigned* pictures, const unsigned* classes,
                                                    float* out) {
    __shared__ float text_piece[TEXTS * PIECE];
    __shared__ float view_piece[THREADS * PITCH];
    __shared__ float warps[THREADS / 32];
    const unsigned begin = classes[blockIdx.x];
    const unsigned end = classes[blockIdx.x + 1];
    const unsigned views_end = pictures[blockIdx.y + 1];
    const unsigned wanted = min(params.best, end - begin);

    float score = 0;
    for (unsigned view0 = pictures[blockIdx.y]; view0 < views_end; view0 += THREADS) {
        const unsigned view = view0 + threadIdx.x;
        ClassReduction reduction;
        for (unsigned taken = 0; taken < max(wanted, 1u); taken += BEST) {
            reduction.begin_round();
            for (unsigned text0 = begin; text0 < end; text0 += TEXTS) {
                float similarities[TEXTS];
                similarity_tile(params, views, texts, view0, views_end, text0, end, text_piece, view_piece, similarities);
#pragma unroll
                for (unsigned j = 0; j < TEXTS; j++) {
                    const unsigned text = text0 + j;
                    // A thread past the last view has nothing to reduce.
                    if (text >= end || view >= views_end) continue;
                    reduction.add(params.best, taken, text, text_weights[text], similarities[j]);
                }
            }
            reduction.end_round(wanted - min(taken, wanted), text_weights);
        }
        const float share = view < views_end ? view_weights[view] * reduction.value(params.best) : 0;
        const float sum = sum_of_lanes(share);
        if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = sum;
        __syncthreads();
        for (unsigned i = 0; i < THREADS / 32; i++) score += warps[i];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[size_t(blockIdx.y) * params.classes + blockIdx.x] = score;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(64)
    weighted_similarity_f32(WeightedSimilarityParams params, const float* views, const float* view_weights,
                            const float* texts, const float* text_weights, const unsigned* pictures, const unsigned* classes,
                            float* out) {
    weighted_similarity(params, views, view_weights, texts, text_weights, pictures, classes, out);
}

extern "C" __global__ void __launch_bounds__(64)
    weighted_similarity_bf16(WeightedSimilarityParams params, const float* views, const float* view_weights,
                             const __nv_bfloat16* texts, const float* text_weights, const unsigned* pictures, const unsigned* classes,
                            float* out) {
    weighted_similarity(params, views, view_weights, texts, text_weights, pictures, classes, out);
}
