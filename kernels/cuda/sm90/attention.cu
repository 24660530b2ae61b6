// attention on the tensor cores of compute capability 9.0: softmax(q kᵀ / √d) v for each sequence and head.
//
// queries and out [·, stride] f16, keys_values [·, stride] f16 (keys, then values); head h takes columns h·64 ..
// (h+1)·64. f16 products, f32 sums and softmax; the weights are rounded to f16 for the second product. Both maps have
// boxes of 64 × 64 in the 128-byte swizzle.
// Block: two warpgroups, each for itself with up to 64 queries of a sequence and one head: two heads of the same queries.
// Of a warpgroup, one thread fills and all four warps multiply; each warp has 16 of the queries:
//
//   TMA     q, k0, v0 │ k1, v1                       │ k2, v2 into the memory of k0, v0 …
//   wgmma             │ q·k0ᵀ             w0·v0      │ q·k1ᵀ             w1·v1
//   lanes             │        softmax w0            │        softmax w1
//
// The keys are walked in blocks of 64; the last block of up to 16 keys is multiplied as 16. From the second block on the
// sums so far are rescaled to the new maximum (online softmax). The weights stay in registers: sums of the first product
// are laid out as the left operand of the second.
#include "../attention_params.cuh"
#include "../element.cuh"
#include "ptx.cuh"

namespace {

typedef ptx::u32 u32;
typedef ptx::u64 u64;

constexpr int DIM = 64;
constexpr int KEYS = 64;
// Keys of a short last block: classes and patches make 64 n + 1 tokens in most models.
constexpr int FEW_KEYS = 16;
// Elements of a slab of 64 queries, keys or values.
constexpr int SLAB = 64 * DIM;
// f16 elements of the 16 bytes of a chunk, and chunks of a row.
constexpr int CHUNK = 8;
constexpr int GROUP_THREADS = 128;
constexpr int GROUPS = 2;
// Blocks of keys that a warpgroup has memory for.
constexpr int STAGES = 2;
constexpr float LOG2_E = 1.44269504f;

// The online softmax of the two query rows of which a lane holds elements, lane / 4 and lane / 4 + 8 of its warp.
struct Softmax {
    float maxima[2];
    float totals[2];
};

// The scores of COUNT keys from key `first` on become weights, and the sums so far are rescaled. `visible` is how many
// keys the lane's two rows see.
template <int COUNT>
__device__ __forceinline__ void weigh(float (&scores)[COUNT / 2], float (&sums)[DIM / 2], Softmax& softmax, int first,
                                      const int (&visible)[2], float scale) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float maximum = softmax.maxima[half];
#pragma unroll
        for (int n = 0; n < COUNT / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& score = scores[n * 4 + half * 2 + i];
                // In base 2, which the exponential of the hardware has.
                score = first + n * 8 + lane % 4 * 2 + i < visible[half] ? score * scale : LOWEST;
                maximum = fmaxf(maximum, score);
            }
        }
        // Combined with the other three lanes of the row.
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 1));
        maximum = fmaxf(maximum, __shfl_xor_sync(0xffffffffu, maximum, 2));
        const float rescale = exp2f(softmax.maxima[half] - maximum);
        softmax.maxima[half] = maximum;
        float total = 0;
#pragma unroll
        for (int n = 0; n < COUNT / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& weight = scores[n * 4 + half * 2 + i];
                weight = exp2f(weight - maximum);
                total += weight;
            }
        }
        // Of this lane's keys; the four lanes of the row are added up at the end.
        softmax.totals[half] = softmax.totals[half] * rescale + total;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            sums[n * 4 + half * 2] *= rescale;
            sums[n * 4 + half * 2 + 1] *= rescale;
        }
    }
}

// Adds one block of up to COUNT keys.
template <int COUNT>
__device__ __forceinline__ void add_keys(const __half* queries, const __half* keys, const __half* values,
                                         float (&sums)[DIM / 2], Softmax& softmax, int first, const int (&visible)[2],
                                         float scale) {
    // Descriptors count in 16 bytes: 16 columns are two of them, 16 rows of 128 bytes are 128.
    const u64 a = ptx::wgmma_descriptor(queries), b = ptx::wgmma_descriptor(keys), c = ptx::wgmma_descriptor(values);
    float scores[COUNT / 2] = {};
    ptx::wgmma_keep(scores);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) ptx::wgmma<COUNT>(scores, a + k * 2, b + k * 2);
    ptx::wgmma_commit();
    ptx::wgmma_keep(scores);
    ptx::wgmma_wait<0>();
    ptx::wgmma_keep(scores);
    weigh<COUNT>(scores, sums, softmax, first, visible, scale);
    u32 weights[COUNT / 16][4];
#pragma unroll
    for (int k = 0; k < COUNT / 16; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) weights[k][i] = ptx::pack(scores[k * 8 + i * 2], scores[k * 8 + i * 2 + 1]);
    }
    ptx::wgmma_keep(sums);
    ptx::wgmma_fence();
#pragma unroll
    for (int k = 0; k < COUNT / 16; k++) ptx::wgmma<DIM>(sums, weights[k], c + k * 128);
    ptx::wgmma_commit();
    ptx::wgmma_keep(sums);
    ptx::wgmma_wait<0>();
    ptx::wgmma_keep(sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 2)
    attention_sm90_64(AttentionParams params, const __grid_constant__ ptx::TensorMap queries_map,
                      const __grid_constant__ ptx::TensorMap keys_values_map, const uint4* items, __half* out) {
    DYNAMIC_SHARED(unsigned char, memory);
    __shared__ u64 full[GROUPS][STAGES];
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    const int group = warp / 4;
    const int lane = threadIdx.x % 32;
    const int thread = threadIdx.x % GROUP_THREADS;
    const int head = blockIdx.y * GROUPS + group;
    // The first query row, the number of queries, the first key row, the number of keys that the first query sees.
    const uint4 item = items[blockIdx.x];
    const int count = item.y;
    const int keys = item.w + (params.causal ? count - 1 : 0);
    const int blocks = (keys + KEYS - 1) / KEYS;
    const int column = head * DIM;
    const int width = params.heads * DIM;
    // Queries, keys and values of each warpgroup, then the second keys and values of each: where no sequence is longer than
    // a block of keys, the launch gives no memory for these.
    __half* slabs = reinterpret_cast<__half*>(memory + ptx::swizzle_padding(memory));
    __half* queries = slabs + group * 3 * SLAB;
    auto keys_of = [&](int block) { return block % STAGES == 0 ? queries + SLAB : slabs + (GROUPS * 3 + group * 2) * SLAB; };

    if (thread == 0) {
        for (int s = 0; s < STAGES; s++) ptx::mbarrier_init(&full[group][s], 1);
        ptx::mbarrier_init_fence();
    }
    __syncthreads();
    // With an odd number of heads the last block has one.
    if (head >= params.heads) return;

    // By constants, since barriers with a variable number take all 16 of the block.
    auto group_barrier = [&] {
        if (group == 0) ptx::named_barrier(1, GROUP_THREADS);
        else ptx::named_barrier(2, GROUP_THREADS);
    };
    auto load = [&](int block) {
        u64* barrier = &full[group][block % STAGES];
        __half* to = keys_of(block);
        ptx::mbarrier_arrive_expect(barrier, (block == 0 ? 3 : 2) * SLAB * sizeof(__half));
        if (block == 0) ptx::tma_load(queries, &queries_map, barrier, column, item.x);
        ptx::tma_load(to, &keys_values_map, barrier, column, item.z + block * KEYS);
        ptx::tma_load(to + SLAB, &keys_values_map, barrier, width + column, item.z + block * KEYS);
    };
    if (thread == 0) {
        for (int block = 0; block < min(STAGES, blocks); block++) load(block);
    }

    Softmax softmax = {{LOWEST, LOWEST}, {0, 0}};
    float sums[DIM / 2] = {};
    int visible[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int query = warp % 4 * 16 + half * 8 + lane / 4;
        visible[half] = min(keys, int(item.w) + (params.causal ? query : 0));
    }
    const float scale = params.scale * LOG2_E;
    for (int block = 0; block < blocks; block++) {
        ptx::mbarrier_wait(&full[group][block % STAGES], block / STAGES & 1);
        __half* block_keys = keys_of(block);
        __half* block_values = block_keys + SLAB;
        const int there = keys - block * KEYS;
        // Rows past the sequence are another's: their weights are 0, but a product of 0 with infinity is none.
        if (there < KEYS) {
            for (int i = there * CHUNK + thread; i < KEYS * CHUNK; i += GROUP_THREADS) {
                reinterpret_cast<uint4*>(block_values)[i] = make_uint4(0, 0, 0, 0);
            }
            ptx::fence_proxy_async();
            group_barrier();
        }
        if (there <= FEW_KEYS) {
            add_keys<FEW_KEYS>(queries, block_keys, block_values, sums, softmax, block * KEYS, visible, scale);
        } else {
            add_keys<KEYS>(queries, block_keys, block_values, sums, softmax, block * KEYS, visible, scale);
        }
        // All warps have multiplied this block: its memory takes another.
        group_barrier();
        if (thread == 0 && block + STAGES < blocks) load(block + STAGES);
    }

    // The results take the place of the queries, from where lanes store whole rows.
    __half* rows = queries + warp % 4 * 16 * DIM;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        softmax.totals[half] += __shfl_xor_sync(0xffffffffu, softmax.totals[half], 1);
        softmax.totals[half] += __shfl_xor_sync(0xffffffffu, softmax.totals[half], 2);
    }
#pragma unroll
    for (int n = 0; n < DIM / 8; n += 2) {
        u32 pairs[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* pair = sums + n * 4 + i * 2;
            pairs[i] = ptx::pack(pair[0] / softmax.totals[i % 2], pair[1] / softmax.totals[i % 2]);
        }
        const int row = lane % 16;
        ptx::stmatrix_x4(rows + row * DIM + ((n + lane / 16) ^ row % 8) * CHUNK, pairs[0], pairs[1], pairs[2], pairs[3]);
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * CHUNK; i += 32) {
        const int row = i / CHUNK, chunk = i % CHUNK;
        const int query = warp % 4 * 16 + row;
        if (query >= count) continue;
        const uint4 x = reinterpret_cast<const uint4*>(rows)[row * CHUNK + (chunk ^ row % 8)];
        reinterpret_cast<uint4*>(out + size_t(item.x + query) * params.out_stride + column)[chunk] = x;
    }
}
