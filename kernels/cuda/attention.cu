// attention on tensor cores: softmax(q kᵀ / √d) v for each sequence and head.
//
// queries and out [·, stride] f16, keys_values [·, stride] f16 (keys, then values); head h takes columns h·d ..
// (h+1)·d. f16 products, f32 sums and softmax; the weights are rounded to f16 for the second product.
// Block: up to 64 queries of a sequence, one head; each warp takes 16 of the queries.
// Shared memory: 64 keys and 64 values, padded by 16 bytes a row so that the rows of an 8×8 matrix lie in different
// banks. The keys are walked in blocks of 64: up to 64 tokens the whole row of scores is in registers at once; from the
// second block on the sums so far are rescaled to the new maximum (online softmax).
#include "attention_params.cuh"
#include "element.cuh"

namespace {

// Four warps of 16 queries each.
constexpr int QUERIES = 64;
constexpr int KEYS = 64;
constexpr int CHUNK = 8;

template <int DIM>
__device__ __forceinline__ void attention(const AttentionParams& params, const __half* queries,
                                          const __half* keys_values, const uint4* items, __half* out) {
    constexpr int PITCH = DIM + CHUNK;
    constexpr int CHUNKS = DIM / CHUNK;
    __shared__ __align__(16) __half k_block[KEYS * PITCH];
    __shared__ __align__(16) __half v_block[KEYS * PITCH];
    // The first query row, the number of queries, the first key row, the number of keys that the first query sees.
    const uint4 item = items[blockIdx.x];
    const int count = item.y;
    const int column = blockIdx.y * DIM;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    queries += size_t(item.x) * params.queries_stride + column;
    out += size_t(item.x) * params.out_stride + column;
    keys_values += size_t(item.z) * params.keys_values_stride + column;
    const int width = params.heads * DIM;
    const int keys = item.w + (params.causal ? count - 1 : 0);

    static_assert(QUERIES == KEYS, "the queries pass through the keys' memory");
    auto load = [&](__half* block, const __half* from, int stride, int rows) {
        for (int i = threadIdx.x; i < KEYS * CHUNKS; i += QUERIES * 2) {
            const int row = i / CHUNKS;
            const int chunk = i % CHUNKS * CHUNK;
            const bool inside = row < rows;
            ptx::cp_async_16(block + row * PITCH + chunk, from + (inside ? size_t(row) * stride + chunk : 0), inside ? 16 : 0);
        }
        ptx::cp_async_commit();
    };

    // The queries are loaded into registers through the keys' shared memory.
    ptx::u32 q_fragments[DIM / 16][4];
    load(k_block, queries, params.queries_stride, count);
    ptx::cp_async_wait<0>();
    __syncthreads();
#pragma unroll
    for (int d = 0; d < DIM / 16; d++) {
        ptx::ldmatrix_x4(q_fragments[d], k_block + (warp * 16 + lane % 16) * PITCH + d * 16 + lane / 16 * CHUNK);
    }

    // The online softmax of the two query rows of which this lane holds elements, lane / 4 and lane / 4 + 8.
    float maxima[2] = {LOWEST, LOWEST};
    float totals[2] = {};
    float sums[DIM / 8][4] = {};
    for (int block = 0; block < keys; block += KEYS) {
        __syncthreads();
        const __half* from = keys_values + size_t(block) * params.keys_values_stride;
        load(k_block, from, params.keys_values_stride, keys - block);
        load(v_block, from + width, params.keys_values_stride, keys - block);
        ptx::cp_async_wait<1>();
        __syncthreads();

        float scores[KEYS / 8][4] = {};
#pragma unroll
        for (int d = 0; d < DIM / 16; d++) {
#pragma unroll
            for (int n = 0; n < KEYS / 8; n += 2) {
                const int row = n * 8 + lane / 16 * 8 + lane % 8;
                ptx::u32 both[4];
                ptx::ldmatrix_x4(both, k_block + row * PITCH + d * 16 + lane / 8 % 2 * CHUNK);
                const ptx::u32 first[2] = {both[0], both[1]};
                const ptx::u32 second[2] = {both[2], both[3]};
                ptx::mma_16x8x16(scores[n], q_fragments[d], first);
                ptx::mma_16x8x16(scores[n + 1], q_fragments[d], second);
            }
        }

        float rescale[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int query = warp * 16 + half * 8 + lane / 4;
            const int visible = int(item.w) + (params.causal ? query : 0) - block;
            float maximum = maxima[half];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
                for (int i = 0; i < 2; i++) {
                    const int key = n * 8 + lane % 4 * 2 + i;
                    float& score = scores[n][half * 2 + i];
                    score = key < min(visible, keys - block) ? score * params.scale : LOWEST;
                    maximum = fmaxf(maximum, score);
                }
            }
            // Combined with the other three lanes of the row.
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
            maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
            rescale[half] = expf(maxima[half] - maximum);
            maxima[half] = maximum;
            float total = 0;
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
                for (int i = 0; i < 2; i++) {
                    float& weight = scores[n][half * 2 + i];
                    weight = expf(weight - maximum);
                    total += weight;
                }
            }
            total += __shfl_xor_sync(0xffffffffu, total, 1);
            total += __shfl_xor_sync(0xffffffffu, total, 2);
            totals[half] = totals[half] * rescale[half] + total;
        }
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            for (int i = 0; i < 4; i++) sums[d][i] *= rescale[i / 2];
        }

        ptx::cp_async_wait<0>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++) {
            // Two fragments of weights make one of the left operand.
            ptx::u32 weights[4];
            for (int i = 0; i < 4; i++) {
                const float* pair = scores[k * 2 + i / 2] + i % 2 * 2;
                weights[i] = ptx::pack(pair[0], pair[1]);
            }
#pragma unroll
            for (int d = 0; d < DIM / 8; d += 2) {
                const int row = k * 16 + lane / 8 % 2 * 8 + lane % 8;
                ptx::u32 both[4];
                ptx::ldmatrix_x4_trans(both, v_block + row * PITCH + d * 8 + lane / 16 * CHUNK);
                const ptx::u32 first[2] = {both[0], both[1]};
                const ptx::u32 second[2] = {both[2], both[3]};
                ptx::mma_16x8x16(sums[d], weights, first);
                ptx::mma_16x8x16(sums[d + 1], weights, second);
            }
        }
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int query = warp * 16 + half * 8 + lane / 4;
        if (query >= count) continue;
        __half* at = out + size_t(query) * params.out_stride + lane % 4 * 2;
#pragma unroll
        for (int d = 0; d < DIM / 8; d++) {
            store_pair(at + d * 8, sums[d][half * 2] / totals[half], sums[d][half * 2 + 1] / totals[half]);
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    attention_32(AttentionParams params, const __half* queries, const __half* keys_values, const uint4* items, __half* out) {
    attention<32>(params, queries, keys_values, items, out);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_64(AttentionParams params, const __half* queries, const __half* keys_values, const uint4* items, __half* out) {
    attention<64>(params, queries, keys_values, items, out);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_80(AttentionParams params, const __half* queries, const __half* keys_values, const uint4* items, __half* out) {
    attention<80>(params, queries, keys_values, items, out);
}

extern "C" __global__ void __launch_bounds__(128)
    attention_128(AttentionParams params, const __half* queries, const __half* keys_values, const uint4* items, __half* out) {
    attention<128>(params, queries, keys_values, items, out);
}
