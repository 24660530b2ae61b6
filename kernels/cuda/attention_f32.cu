// attention in f32, for heads of any width: softmax(q kᵀ / √d) v for each sequence and head.
//
// queries and out [·, stride], keys_values [·, stride] (keys, then values), f32 or f16; head h takes columns h·d ..
// (h+1)·d. f32 products and sums.
// Block: up to 8 queries of a sequence, one head, up to 128 columns of it.
// Shared memory: the scores of 8 queries for 128 keys and 32 columns of the queries, 5.6 KiB. The keys are walked in
// blocks of 128; from the second block on the sums so far are rescaled to the new maximum (online softmax).
#include "attention_params.cuh"
#include "element.cuh"

namespace {

constexpr int QUERIES = 8;
constexpr int KEYS = 128;
constexpr int PIECE = 32;
// Threads that share a query's softmax.
constexpr int SHARE = KEYS / QUERIES;

template <typename T>
__device__ __forceinline__ void attention(const AttentionParams& params, const T* queries, const T* keys_values,
                                          const uint4* items, T* out) {
    __shared__ float query_piece[QUERIES * PIECE];
    __shared__ float scores[QUERIES * KEYS];
    __shared__ float partial[KEYS];
    // For each query: the maximum so far, the sum of its weights, and the factor that rescales its sums so far.
    __shared__ float maxima[QUERIES];
    __shared__ float totals[QUERIES];
    __shared__ float rescale[QUERIES];
    // The first query row, the number of queries, the first key row, the number of keys that the first query sees.
    const uint4 item = items[blockIdx.x];
    const int count = item.y;
    const int thread = threadIdx.x;
    // y counts the heads, and within them the blocks of 128 columns.
    const int blocks = (params.head_dim + KEYS - 1) / KEYS;
    const int head = blockIdx.y / blocks;
    const int column = blockIdx.y % blocks * KEYS + thread;
    const int head_column = head * params.head_dim;
    const int width = params.heads * params.head_dim;
    const int keys = item.w + (params.causal ? count - 1 : 0);
    queries += size_t(item.x) * params.queries_stride + head_column;
    keys_values += size_t(item.z) * params.keys_values_stride + head_column;
    out += size_t(item.x) * params.out_stride + head_column;

    if (thread < QUERIES) {
        maxima[thread] = LOWEST;
        totals[thread] = 0;
    }
    float sums[QUERIES] = {};
    for (int block = 0; block < keys; block += KEYS) {
        // One key per thread.
        const int key = block + thread;
        float dots[QUERIES] = {};
        for (int d0 = 0; d0 < params.head_dim; d0 += PIECE) {
            __syncthreads();
            for (int i = thread; i < QUERIES * PIECE; i += KEYS) {
                const int query = i / PIECE;
                const int d = d0 + i % PIECE;
                const bool inside = query < count && d < params.head_dim;
                query_piece[i] = inside ? widen(queries[size_t(query) * params.queries_stride + d]) * params.scale : 0;
            }
            __syncthreads();
            if (key < keys) {
                const int end = min(PIECE, params.head_dim - d0);
                for (int d = 0; d < end; d++) {
                    const float k = widen(keys_values[size_t(key) * params.keys_values_stride + d0 + d]);
#pragma unroll
                    for (int q = 0; q < QUERIES; q++) dots[q] += query_piece[q * PIECE + d] * k;
                }
            }
        }
#pragma unroll
        for (int q = 0; q < QUERIES; q++) scores[q * KEYS + thread] = dots[q];
        __syncthreads();

        // 16 threads per query: the maximum, then the weights, then their sum.
        const int query = thread / SHARE;
        const int visible = int(item.w) + (params.causal ? query : 0);
        const int end = min(KEYS, max(visible, block) - block);
        float maximum = maxima[query];
        for (int i = thread % SHARE; i < end; i += SHARE) maximum = fmaxf(maximum, scores[query * KEYS + i]);
        partial[thread] = maximum;
        __syncthreads();
        for (int i = 0; i < SHARE; i++) maximum = fmaxf(maximum, partial[query * SHARE + i]);
        __syncthreads();
        float total = 0;
        for (int i = thread % SHARE; i < KEYS; i += SHARE) {
            const float weight = i < end ? expf(scores[query * KEYS + i] - maximum) : 0;
            scores[query * KEYS + i] = weight;
            total += weight;
        }
        partial[thread] = total;
        __syncthreads();
        if (thread % SHARE == 0) {
            const float older = expf(maxima[query] - maximum);
            total = totals[query] * older;
            for (int i = 0; i < SHARE; i++) total += partial[thread + i];
            maxima[query] = maximum;
            totals[query] = total;
            rescale[query] = older;
        }
        __syncthreads();

        // One column per thread.
#pragma unroll
        for (int q = 0; q < QUERIES; q++) sums[q] *= rescale[q];
        if (column < params.head_dim) {
            const int rows = min(KEYS, keys - block);
            for (int i = 0; i < rows; i++) {
                const float v = widen(keys_values[size_t(block + i) * params.keys_values_stride + width + column]);
#pragma unroll
                for (int q = 0; q < QUERIES; q++) sums[q] += scores[q * KEYS + i] * v;
            }
        }
    }
    __syncthreads();
    if (column < params.head_dim) {
        // Loops over all queries, so that the sums, indexed by constants, stay in registers.
#pragma unroll
        for (int q = 0; q < QUERIES; q++) {
            if (q < count) store(out + size_t(q) * params.out_stride + column, sums[q] / totals[q]);
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128, 4) attention_f32(AttentionParams params, const float* queries, const float* keys_values,
                                         const uint4* items, float* out) {
    attention(params, queries, keys_values, items, out);
}

extern "C" __global__ void __launch_bounds__(128, 4) attention_f16(AttentionParams params, const __half* queries, const __half* keys_values,
                                         const uint4* items, __half* out) {
    attention(params, queries, keys_values, items, out);
}
