// out = a · bᵀ: a [rows, inputs], b [outputs, inputs] f16, out [rows, outputs] f16 stored, or f32 added to.
//
// Block: a filling warpgroup and two that multiply, 64 rows each of a tile of 128×64; persistent. A ring of two slabs
// of 64 inputs of both operands.
#include "../../../../kernels/cuda/sm90/ptx.cuh"
#include "bugs.cuh"

namespace {

typedef ptx::u32 u32;
typedef ptx::u64 u64;

constexpr int TILE_M = 128;
constexpr int TILE_N = 64;
constexpr int DEPTH = 64;
constexpr int STAGES = 2;
constexpr int CONSUMERS = 2;
constexpr int SLAB = (TILE_M + TILE_N) * DEPTH;
// Of a warp: 16 rows of 128 bytes.
constexpr int STAGING = 2048;

struct RingParams {
    int tiles_m, tiles_n, steps, bug;
};

__device__ __forceinline__ void stage(__half* to, const float* sums, int bug) {
    const int lane = threadIdx.x % 32;
    for (int g = 0; g < TILE_N / 8; g += 2) {
        const int row = lane % 16, chunk = g + lane / 16;
        const int place = bug == NO_SWIZZLE_OF_STAGING ? chunk : chunk ^ row % 8;
        ptx::stmatrix_x4(to + row * TILE_N + place * 8, ptx::pack(sums[g * 4], sums[g * 4 + 1]),
                         ptx::pack(sums[g * 4 + 2], sums[g * 4 + 3]), ptx::pack(sums[g * 4 + 4], sums[g * 4 + 5]),
                         ptx::pack(sums[g * 4 + 6], sums[g * 4 + 7]));
    }
}

// 32 columns of f32.
__device__ __forceinline__ void stage(float* to, const float* sums, int) {
    const int lane = threadIdx.x % 32;
    for (int half = 0; half < 2; half++) {
        const int row = lane / 4 + half * 8;
        for (int g = 0; g < 4; g++) {
            const int chunk = (g * 2 + lane % 4 / 2) ^ row % 8;
            *reinterpret_cast<float2*>(to + row * 32 + chunk * 4 + lane % 2 * 2) =
                make_float2(sums[g * 4 + half * 2], sums[g * 4 + half * 2 + 1]);
        }
    }
}

template <typename Out>
__device__ __forceinline__ void product(const RingParams& params, const ptx::TensorMap* a_map,
                                        const ptx::TensorMap* b_map, const ptx::TensorMap* out_map) {
    DYNAMIC_SHARED(unsigned char, memory);
    const int bug = params.bug;
    __half* slabs = reinterpret_cast<__half*>(memory + (1024 - ptx::shared(memory) % 1024) % 1024 +
                                              (bug == MISALIGNED_SLAB ? 512 : 0));
    unsigned char* all_staging = reinterpret_cast<unsigned char*>(slabs + STAGES * SLAB);
    u64* full = reinterpret_cast<u64*>(all_staging + CONSUMERS * 4 * STAGING);
    u64* empty = full + STAGES;
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
    const int lane = threadIdx.x % 32;
    const int group = warp / 4;
    if (threadIdx.x == 0) {
        for (int s = 0; s < STAGES; s++) {
            ptx::mbarrier_init(full + s, 1);
            const int arrivals = bug == TOO_MANY_ARRIVALS_NEEDED ? 9 : bug == TOO_FEW_ARRIVALS_NEEDED ? 4 : 8;
            if (bug != UNINITIALISED_MBARRIER) ptx::mbarrier_init(empty + s, arrivals);
        }
        if (bug != NO_INIT_FENCE) ptx::mbarrier_init_fence();
    }
    if (bug != NO_BARRIER_AFTER_INIT) __syncthreads();
    const int tiles = params.tiles_m * params.tiles_n;
    const int first_tile = bug == TWO_BLOCKS_ONE_TILE ? 0 : blockIdx.x;

    if (group == CONSUMERS) {
        if (bug != REGISTERS_OF_A_WARP || warp % 4 == 0) ptx::registers_decrease<40>();
        if (warp != CONSUMERS * 4 || lane != 0) return;
        ptx::tma_prefetch(a_map);
        int step = 0;
        for (int tile = first_tile; tile < tiles; tile += gridDim.x) {
            for (int i = 0; i < params.steps; i++, step++) {
                const int s = step % STAGES;
                if (bug != NO_WAIT_FOR_EMPTY) ptx::mbarrier_wait(empty + s, step / STAGES % 2 ^ 1);
                const int wrong = bug == TOO_FEW_BYTES_EXPECTED    ? -TILE_N * 128
                                  : bug == TOO_MANY_BYTES_EXPECTED ? 16
                                                                   : 0;
                ptx::mbarrier_arrive_expect(full + s, SLAB * 2 + wrong);
                ptx::tma_load(slabs + s * SLAB, a_map, full + s, i * DEPTH, tile % params.tiles_m * TILE_M);
                ptx::tma_load(slabs + s * SLAB + TILE_M * DEPTH, b_map, full + s, i * DEPTH,
                              tile / params.tiles_m * TILE_N);
            }
        }
        return;
    }

    if (bug == TOO_MANY_REGISTERS) ptx::registers_increase<248>();
    else if (bug == REGISTERS_THE_WRONG_WAY) ptx::registers_increase<96>();
    else ptx::registers_increase<232>();
    Out* staging = reinterpret_cast<Out*>(all_staging + warp * STAGING + (bug == MISALIGNED_STAGING ? 64 : 0));
    int step = 0;
    for (int tile = first_tile; tile < tiles; tile += gridDim.x) {
        float sums[TILE_N / 2];
        for (int i = 0; i < TILE_N / 2; i++) sums[i] = 0;
        for (int i = 0; i < params.steps; i++, step++) {
            const int s = step % STAGES;
            const int parity = step / STAGES % 2 ^ (bug == WRONG_PARITY_OF_FULL);
            if (bug != NO_WAIT_FOR_FULL) ptx::mbarrier_wait(full + s, parity);
            const __half* slab = slabs + s * SLAB;
            if (bug == WRITE_TO_SLAB && i == 1) slabs[(s ^ 1) * SLAB + threadIdx.x] = __half{0};
            const int rows = bug == DIFFERENT_OPERANDS ? warp / 2 : group;
            const u64 a = ptx::wgmma_descriptor(slab + rows * 64 * DEPTH);
            const u64 b = ptx::wgmma_descriptor(bug == SLAB_OUTSIDE ? slab + 8 * SLAB : slab + TILE_M * DEPTH);
            ptx::wgmma_keep(sums);
            const bool no_fence =
                i == 0 && (bug == NO_WGMMA_FENCE || (bug == NO_WGMMA_FENCE_OF_SECOND_TILE && tile != first_tile));
            if (!no_fence) ptx::wgmma_fence();
            for (int k = 0; k < DEPTH / 16; k++) {
                if (bug == WARP_WITHOUT_WGMMA && warp == 2 && k == 3) continue;
                ptx::wgmma<TILE_N>(sums, a + k * 2, b + k * 2);
            }
            ptx::wgmma_commit();
            ptx::wgmma_keep(sums);
            if (bug == SLAB_GIVEN_BACK_EARLY && lane == 0) ptx::mbarrier_arrive(empty + s);
            if (bug == SUMS_READ_EARLY && i + 1 == params.steps) sums[0] *= 2;
            ptx::wgmma_wait<1>();
            if (bug != SLAB_GIVEN_BACK_EARLY && i > 0 && lane == 0) ptx::mbarrier_arrive(empty + (s ^ 1));
        }
        if (bug == NO_WGMMA_WAIT) return;
        ptx::wgmma_wait<0>();
        ptx::wgmma_keep(sums);
        if (bug != SLAB_GIVEN_BACK_EARLY && lane == 0) ptx::mbarrier_arrive(empty + (step - 1) % STAGES);

        constexpr int COLUMNS = 128 / sizeof(Out);
        const int row = tile % params.tiles_m * TILE_M + group * 64 + warp % 4 * (bug == OVERLAPPING_STORES ? 8 : 16);
        for (int first = 0; first < TILE_N; first += COLUMNS) {
            if (lane == 0 && bug != NO_WAIT_FOR_READ) ptx::tma_wait_read<0>();
            __syncwarp();
            stage(staging, sums + first / 2, bug);
            if (bug != NO_PROXY_FENCE) ptx::fence_proxy_async();
            if (bug != NO_SYNC_BEFORE_STORE) __syncwarp();
            if (lane == 0) {
                const int column = tile / params.tiles_m * TILE_N + first;
                if (sizeof(Out) == 4) ptx::tma_add(out_map, staging, column, row);
                else ptx::tma_store(out_map, staging, column, row);
                ptx::tma_commit();
            }
        }
    }
    if (lane == 0 && bug != NO_WAIT_AT_END) ptx::tma_wait<0>();
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1)
    ring_product_store(RingParams params, const __grid_constant__ ptx::TensorMap a_map,
                       const __grid_constant__ ptx::TensorMap b_map, const __grid_constant__ ptx::TensorMap out_map) {
    product<__half>(params, &a_map, &b_map, &out_map);
}

extern "C" __global__ void __launch_bounds__(384, 1)
    ring_product_add(RingParams params, const __grid_constant__ ptx::TensorMap a_map,
                     const __grid_constant__ ptx::TensorMap b_map, const __grid_constant__ ptx::TensorMap out_map) {
    product<float>(params, &a_map, &b_map, &out_map);
}
