// linear on the tensor cores of compute capability 9.0: out = epilogue(input · Wᵀ + b).
//
// input [rows, ·] f16, weight [outputs, ·] f16, bias [outputs] f32, padded with zeros to a multiple of eight, out
// [rows, out_stride] f32 or f16; f16 products, f32 sums. `input_map` has boxes of TILE_M × 64, `weight_map` of
// TILE_N × 64, both in the 128-byte swizzle; `out_map` of 16 rows and the columns of a chunk.
// Blocks are persistent, each takes every gridDim.x-th tile, and their warpgroups have roles:
//
//   filling warp     TMA ─▶ slab 0 │ slab 1 │ … │ slab STAGES-1 ─▶ slab 0 …    64 inputs of both operands a slab
//   consumer 0       wgmma on tile t      │ epilogue of t        │ wgmma on t+2
//   consumer 1       epilogue of tile t-1 │ wgmma on tile t+1    │ epilogue of t+1
//
// With PING_PONG, as drawn, two consumers take tiles in turn, so that the tensor cores work while one of them converts
// and stores; otherwise all consumers share each tile, 64 rows each. A slab has two mbarriers: `full` completes when its
// bytes have arrived, `empty` when all warps that multiply it are done.
// Epilogue: a warp owns 16 rows of a tile and its own staging memory; it converts a chunk of columns at a time, and TMA
// stores it, or adds it to out. Rows of out that do not begin at multiples of 16 bytes are stored by the lanes.
// Each element is summed over the inputs first to last, whatever the tile: batch-invariant.
#include "../element.cuh"
#include "../epilogue.cuh"
#include "../linear_params.cuh"
#include "ptx.cuh"

namespace {

typedef ptx::u32 u32;
typedef ptx::u64 u64;

// Inputs of a slab: rows of 128 bytes, the widest swizzle.
constexpr int DEPTH = 64;
// Inputs of one wgmma.
constexpr int STEP = 16;
// Rows of one wgmma, and of a warpgroup's share of a tile.
constexpr int GROUP_ROWS = 64;
constexpr int WARP_ROWS = 16;
// Tiles of rows that are taken for all outputs before the next: what one wave of blocks reads stays in the L2 cache.
constexpr int BAND = 8;

template <int TILE_N_, int GROUPS_M_, int CONSUMERS_, bool PING_PONG_, int STAGES_, typename Out_>
struct Tile {
    typedef Out_ Out;
    static constexpr bool PING_PONG = PING_PONG_;
    static constexpr int CONSUMERS = CONSUMERS_;
    static constexpr int STAGES = STAGES_;
    // A consumer multiplies GROUPS_M groups of 64 rows.
    static constexpr int GROUPS_M = GROUPS_M_;
    static constexpr int TILE_M = GROUP_ROWS * GROUPS_M * (PING_PONG ? 1 : CONSUMERS);
    static constexpr int TILE_N = TILE_N_;
    // Elements of a slab.
    static constexpr int INPUT_SLAB = TILE_M * DEPTH;
    static constexpr int SLAB = (TILE_M + TILE_N) * DEPTH;
    // Columns of a chunk: 128 bytes in the swizzle where the tile divides into such.
    static constexpr int FULL_COLUMNS = 128 / sizeof(Out);
    static constexpr int COLUMNS = TILE_N % FULL_COLUMNS == 0 ? FULL_COLUMNS : TILE_N % 48 == 0 ? 48 : TILE_N;
    static constexpr int STAGING =
        (WARP_ROWS * COLUMNS * sizeof(Out) + ptx::SWIZZLE_BYTES - 1) / ptx::SWIZZLE_BYTES * ptx::SWIZZLE_BYTES;
    static_assert(!PING_PONG || CONSUMERS == 2, "two take turns");
    static_assert(TILE_M <= 256 && TILE_N <= 256 && TILE_N % COLUMNS == 0 && COLUMNS % 8 == 0, "boxes of TMA");
};

// Where a ring of slabs, or of turns, stands.
struct Ring {
    int slot;
    u32 parity;
};

// After `steps` steps of a ring of SLOTS slots.
template <int SLOTS>
__device__ __forceinline__ Ring ring_at(u32 steps) {
    return {int(steps % SLOTS), steps / SLOTS & 1};
}

template <int SLOTS>
__device__ __forceinline__ void advance(Ring& ring) {
    if (++ring.slot == SLOTS) ring.slot = 0, ring.parity ^= 1;
}

// The first row and output of a tile.
struct Corner {
    int row;
    int output;
};

template <typename T>
__device__ __forceinline__ Corner corner_of(int tile, int tiles_m, int tiles_n) {
    const int band = tile / (BAND * tiles_n);
    const int within = tile - band * BAND * tiles_n;
    const int height = min(BAND, tiles_m - band * BAND);
    const int n = within / height;
    return {(band * BAND + within - n * height) * T::TILE_M, n * T::TILE_N};
}

// The place of 16 bytes in a row of staging memory, as out_map's swizzle has it.
template <typename T>
__device__ __forceinline__ typename T::Out* staged(typename T::Out* staging, int row, int chunk) {
    const int place = T::COLUMNS == T::FULL_COLUMNS ? chunk ^ row % 8 : chunk;
    return staging + row * T::COLUMNS + place * int(16 / sizeof(typename T::Out));
}

// The activations as they are inlined into every element's epilogue, for results that are rounded to f16: gelu by a
// polynomial of erfc with an error of at most 1.5e-7 (Abramowitz and Stegun, 7.1.26), gelu_tanh as x · σ(2 u), since
// (1 + tanh u) / 2 = σ(2 u).
template <unsigned EPILOGUE>
__device__ __forceinline__ float activate_inline(float x) {
    if (EPILOGUE == QUICK_GELU) return quick_gelu(x);
    if (EPILOGUE == GELU) {
        const float z = fabsf(x) * 0.70710678f;
        const float t = __fdividef(1.0f, 1 + 0.3275911f * z);
        const float polynomial =
            ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t;
        const float tail = 0.5f * x * polynomial * expf(-z * z);
        return x > 0 ? x - tail : tail;
    }
    if (EPILOGUE == GELU_TANH) return __fdividef(x, 1 + expf(-1.5957691216f * (x + 0.044715f * x * x * x)));
    return x;
}

// Puts a chunk of this warp's sums, from column `first` on, activated into its staging memory. Of each group of eight
// columns this lane holds two neighbours in rows lane / 4 and lane / 4 + 8.
template <typename T, unsigned EPILOGUE, int SUMS>
__device__ __forceinline__ void stage(unsigned, __half* staging, const float (&sums)[SUMS], int first) {
    const int lane = threadIdx.x % 32;
    static_assert(T::COLUMNS % 16 == 0, "stmatrix stores two groups of eight columns");
#pragma unroll
    for (int g = 0; g < T::COLUMNS / 8; g += 2) {
        // Rows 0 to 7 and 8 to 15 of eight columns, then of the next eight.
        u32 pairs[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* pair = sums + (first / 8 + g) * 4 + i * 2;
            pairs[i] = ptx::pack(activate_inline<EPILOGUE>(pair[0]), activate_inline<EPILOGUE>(pair[1]));
        }
        ptx::stmatrix_x4(staged<T>(staging, lane % 16, g + lane / 16), pairs[0], pairs[1], pairs[2], pairs[3]);
    }
}

// Puts a chunk of this warp's sums, from column `first` on, into its staging memory, where the lanes activate it: f32
// with an activation is rare, and its code would be repeated for each element.
template <typename T, unsigned, int SUMS>
__device__ __forceinline__ void stage(unsigned epilogue, float* staging, const float (&sums)[SUMS], int first) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int g = 0; g < T::COLUMNS / 8; g++) {
            const float* pair = sums + (first / 8 + g) * 4 + half * 2;
            store_pair(staged<T>(staging, lane / 4 + half * 8, g * 2 + lane % 4 / 2) + lane % 2 * 2, pair[0], pair[1]);
        }
    }
    if (epilogue >= QUICK_GELU) {
        __syncwarp();
#pragma unroll 1
        for (int i = lane; i < WARP_ROWS * T::COLUMNS; i += 32) staging[i] = activate(epilogue, staging[i]);
    }
}

// Stores a staged chunk whose first element is (row, output).
template <typename T>
__device__ __forceinline__ void store_chunk(const LinearParams& params, const ptx::TensorMap* out_map, typename T::Out* out,
                                            typename T::Out* staging, int row, int output) {
    const int lane = threadIdx.x % 32;
    const bool accumulate = params.epilogue == ACCUMULATE;
    if (params.out_stride * sizeof(typename T::Out) % 16 == 0) {
        ptx::fence_proxy_async();
        __syncwarp();
        if (lane == 0) {
            if (accumulate) ptx::tma_add(out_map, staging, output, row);
            else ptx::tma_store(out_map, staging, output, row);
            ptx::tma_commit();
        }
        return;
    }
    __syncwarp();
#pragma unroll 1
    for (int i = lane; i < WARP_ROWS * T::COLUMNS; i += 32) {
        const int m = i / T::COLUMNS, n = i % T::COLUMNS;
        constexpr int CHUNK = 16 / sizeof(typename T::Out);
        if (row + m >= params.rows || output + n >= params.outputs) continue;
        typename T::Out* to = out + size_t(row + m) * params.out_stride + output + n;
        const float x = widen(staged<T>(staging, m, n / CHUNK)[n % CHUNK]);
        store(to, accumulate ? x + widen(*to) : x);
    }
}

// Converts and stores a warp's 16 rows of a tile; its staging memory is filled again when TMA has read it.
template <typename T, unsigned EPILOGUE, int SUMS>
__device__ __forceinline__ void convert_rows(const LinearParams& params, const ptx::TensorMap* out_map, typename T::Out* out,
                                             typename T::Out* staging, const float (&sums)[SUMS], int row, int output) {
#pragma unroll
    for (int first = 0; first < T::TILE_N; first += T::COLUMNS) {
        if (threadIdx.x % 32 == 0) ptx::tma_wait_read<0>();
        __syncwarp();
        stage<T, EPILOGUE>(params.epilogue, staging, sums, first);
        store_chunk<T>(params, out_map, out, staging, row, output + first);
    }
}

// The epilogue is chosen for a warp's rows of a tile, not for each element.
template <typename T, int SUMS>
__device__ __forceinline__ void store_rows(const LinearParams& params, const ptx::TensorMap* out_map, __half* out,
                                           __half* staging, const float (&sums)[SUMS], int row, int output) {
    switch (params.epilogue) {
        case QUICK_GELU: convert_rows<T, QUICK_GELU>(params, out_map, out, staging, sums, row, output); break;
        case GELU: convert_rows<T, GELU>(params, out_map, out, staging, sums, row, output); break;
        case GELU_TANH: convert_rows<T, GELU_TANH>(params, out_map, out, staging, sums, row, output); break;
        default: convert_rows<T, STORE>(params, out_map, out, staging, sums, row, output);
    }
}

template <typename T, int SUMS>
__device__ __forceinline__ void store_rows(const LinearParams& params, const ptx::TensorMap* out_map, float* out,
                                           float* staging, const float (&sums)[SUMS], int row, int output) {
    convert_rows<T, STORE>(params, out_map, out, staging, sums, row, output);
}

template <typename T>
__device__ __forceinline__ void linear(const LinearParams& params, const ptx::TensorMap* input_map,
                                       const ptx::TensorMap* weight_map, const ptx::TensorMap* out_map, const float* bias,
                                       typename T::Out* out) {
    constexpr int STAGES = T::STAGES, GROUPS_M = T::GROUPS_M, CONSUMERS = T::CONSUMERS;
    DYNAMIC_SHARED(unsigned char, memory);
    __half* slabs = reinterpret_cast<__half*>(memory + ptx::swizzle_padding(memory));
    unsigned char* all_staging = reinterpret_cast<unsigned char*>(slabs + STAGES * T::SLAB);
    u64* full = reinterpret_cast<u64*>(all_staging + CONSUMERS * 4 * T::STAGING);
    u64* empty = full + STAGES;
    u64* turn = empty + STAGES;

    // The same in all lanes, so that roles are uniform branches.
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    const int lane = threadIdx.x % 32;
    const int group = warp / 4;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            ptx::mbarrier_init(full + s, 1);
            ptx::mbarrier_init(empty + s, T::PING_PONG ? 4 : 4 * CONSUMERS);
        }
        for (int g = 0; g < 2; g++) ptx::mbarrier_init(turn + g, 4);
        ptx::mbarrier_init_fence();
    }
    __syncthreads();

    const int tiles_m = (params.rows + T::TILE_M - 1) / T::TILE_M;
    const int tiles_n = (params.outputs + T::TILE_N - 1) / T::TILE_N;
    const int tiles = tiles_m * tiles_n;
    const int steps = (params.inputs + DEPTH - 1) / DEPTH;

    if (group == CONSUMERS) {
        if (CONSUMERS == 2) ptx::registers_decrease<24>();
        if (CONSUMERS == 3) ptx::registers_decrease<32>();
        if (warp == CONSUMERS * 4 && lane == 0) {
            ptx::tma_prefetch(input_map);
            ptx::tma_prefetch(weight_map);
            Ring ring = {0, 0};
            for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                const Corner corner = corner_of<T>(tile, tiles_m, tiles_n);
                for (int step = 0; step < steps; step++) {
                    // A ring begins empty: the phase before its first one counts as complete.
                    ptx::mbarrier_wait(empty + ring.slot, ring.parity ^ 1);
                    ptx::mbarrier_arrive_expect(full + ring.slot, T::SLAB * sizeof(__half));
                    __half* slab = slabs + ring.slot * T::SLAB;
                    ptx::tma_load(slab, input_map, full + ring.slot, step * DEPTH, corner.row);
                    ptx::tma_load(slab + T::INPUT_SLAB, weight_map, full + ring.slot, step * DEPTH, corner.output);
                    advance<STAGES>(ring);
                }
            }
        }
        return;
    }

    if (CONSUMERS == 2) ptx::registers_increase<240>();
    if (CONSUMERS == 3) ptx::registers_increase<160>();
    typename T::Out* staging = reinterpret_cast<typename T::Out*>(all_staging + warp * T::STAGING);
    const int first_row = (T::PING_PONG ? 0 : group * GROUPS_M * GROUP_ROWS);
    // Counts this block's tiles.
    for (int j = T::PING_PONG ? group : 0;; j += T::PING_PONG ? 2 : 1) {
        const int tile = blockIdx.x + j * gridDim.x;
        if (tile >= tiles) break;
        const Corner corner = corner_of<T>(tile, tiles_m, tiles_n);
        float sums[GROUPS_M][T::TILE_N / 2];
#pragma unroll
        for (int n = 0; n < T::TILE_N / 8; n++) {
            const int output = corner.output + n * 8 + lane % 4 * 2;
            const float2 two = output < params.outputs ? *reinterpret_cast<const float2*>(bias + output) : make_float2(0, 0);
#pragma unroll
            for (int m = 0; m < GROUPS_M; m++) {
                sums[m][n * 4] = sums[m][n * 4 + 2] = two.x;
                sums[m][n * 4 + 1] = sums[m][n * 4 + 3] = two.y;
            }
        }

        // The consumers multiply in turn, in the order of the tiles, since the slabs come in it.
        if (T::PING_PONG) ptx::mbarrier_wait(turn + group, (j / 2 & 1) ^ (group == 0));
        Ring ring = ring_at<STAGES>(u32(j) * u32(steps));
        int done = 0;
        for (int step = 0; step < steps; step++) {
            ptx::mbarrier_wait(full + ring.slot, ring.parity);
            const __half* slab = slabs + ring.slot * T::SLAB;
            const u64 a = ptx::wgmma_descriptor(slab + first_row * DEPTH);
            const u64 b = ptx::wgmma_descriptor(slab + T::INPUT_SLAB);
            ptx::wgmma_keep(sums);
            ptx::wgmma_fence();
#pragma unroll
            for (int k = 0; k < DEPTH; k += STEP) {
#pragma unroll
                for (int m = 0; m < GROUPS_M; m++) {
                    // Descriptors count in 16 bytes.
                    const u64 rows = m * GROUP_ROWS * DEPTH * sizeof(__half) / 16;
                    ptx::wgmma<T::TILE_N>(sums[m], a + rows + k * sizeof(__half) / 16, b + k * sizeof(__half) / 16);
                }
            }
            ptx::wgmma_commit();
            ptx::wgmma_keep(sums);
            // The products of the slab before are done: it may be filled again.
            ptx::wgmma_wait<1>();
            if (step > 0 && lane == 0) ptx::mbarrier_arrive(empty + done);
            done = ring.slot;
            advance<STAGES>(ring);
        }
        if (T::PING_PONG && lane == 0) ptx::mbarrier_arrive(turn + (group ^ 1));
        ptx::wgmma_wait<0>();
        ptx::wgmma_keep(sums);
        if (lane == 0) ptx::mbarrier_arrive(empty + done);

#pragma unroll
        for (int m = 0; m < GROUPS_M; m++) {
            const int row = corner.row + first_row + m * GROUP_ROWS + warp % 4 * WARP_ROWS;
            store_rows<T>(params, out_map, out, staging, sums[m], row, corner.output);
        }
    }
    // Shared memory must outlive TMA's reads of it.
    if (lane == 0) ptx::tma_wait<0>();
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x192_f32(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, float* out) {
    linear<Tile<192, 2, 2, true, 5, float>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x192_f16(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, __half* out) {
    linear<Tile<192, 2, 2, true, 5, __half>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x144_f32(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, float* out) {
    linear<Tile<144, 2, 2, true, 5, float>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x144_f16(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, __half* out) {
    linear<Tile<144, 2, 2, true, 5, __half>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x128_f32(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, float* out) {
    linear<Tile<128, 2, 2, true, 6, float>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    linear_sm90_128x128_f16(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, __half* out) {
    linear<Tile<128, 2, 2, true, 6, __half>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(512, 1)
    linear_sm90_192x96_f32(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, float* out) {
    linear<Tile<96, 1, 3, false, 5, float>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(512, 1)
    linear_sm90_192x96_f16(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, __half* out) {
    linear<Tile<96, 1, 3, false, 5, __half>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    linear_sm90_64x32_f32(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, float* out) {
    linear<Tile<32, 1, 1, false, 8, float>>(params, &input_map, &weight_map, &out_map, bias, out);
}

extern "C" __global__ void __launch_bounds__(256, 1)
    linear_sm90_64x32_f16(LinearParams params, const __grid_constant__ ptx::TensorMap input_map,
                        const __grid_constant__ ptx::TensorMap weight_map, const __grid_constant__ ptx::TensorMap out_map,
                        const float* bias, __half* out) {
    linear<Tile<32, 1, 1, false, 8, __half>>(params, &input_map, &weight_map, &out_map, bias, out);
}
