// out = a · bᵀ on tensor cores: a [rows, inputs], b [outputs, inputs], out [rows, outputs]; f16, f32 sums.
//
// Multiples of 64 rows and outputs and of 32 inputs. Block: 128 threads, a tile of 64×64, a warp 16 rows of it.
// Shared memory: two slabs of 32 inputs of both operands, one filled by cp.async while the other is multiplied.
#include "../../../kernels/cuda/ptx.cuh"
#include "plants.cuh"

namespace {

constexpr int TILE = 64;
constexpr int DEPTH = 32;
constexpr int CHUNK = 8;

__device__ __forceinline__ int place(int row, int chunk) {
    return row * DEPTH + (PLANT == NO_SWIZZLE ? chunk : chunk ^ (row / 2 % 4)) * CHUNK;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    product(const __half* a, const __half* b, float* out, int outputs, int inputs) {
    __shared__ __align__(16) __half a_slab[2][TILE * DEPTH];
    __shared__ __align__(16) __half b_slab[2][TILE * DEPTH];
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int row0 = blockIdx.y * TILE;
    const int output0 = blockIdx.x * TILE;
    const int steps = inputs / DEPTH;

    auto load = [&](int step) {
        for (int i = threadIdx.x; i < TILE * 4; i += 128) {
            const int row = i / 4;
            const int k = step * DEPTH + i % 4 * CHUNK;
            ptx::cp_async_16(a_slab[step % 2] + place(row, i % 4), a + size_t(row0 + row) * inputs + k, 16);
            ptx::cp_async_16(b_slab[step % 2] + place(row, i % 4), b + size_t(output0 + row) * inputs + k, 16);
        }
        ptx::cp_async_commit();
    };

    float sums[TILE / 8][4] = {};
    load(0);
    for (int step = 0; step < steps; step++) {
        if (step + 1 < steps) {
            load(step + 1);
            ptx::cp_async_wait<PLANT == WRONG_WAIT_COUNT ? 2 : 1>();
        } else {
            ptx::cp_async_wait<0>();
        }
        if (PLANT != NO_BARRIER_BEFORE_TILE) __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++) {
            ptx::u32 left[4];
            ptx::ldmatrix_x4(left, a_slab[step % 2] + place(warp * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
            for (int n = 0; n < TILE / 8; n += 2) {
                ptx::u32 both[4];
                ptx::ldmatrix_x4(both,
                                 b_slab[step % 2] + place(n * 8 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
                const ptx::u32 first[2] = {both[0], both[PLANT == WRONG_FRAGMENT ? 2 : 1]};
                const ptx::u32 second[2] = {both[PLANT == WRONG_FRAGMENT ? 1 : 2], both[3]};
                ptx::mma_16x8x16(sums[n], left, first);
                ptx::mma_16x8x16(sums[n + 1], left, second);
            }
        }
        if (PLANT != NO_BARRIER_AFTER_TILE) __syncthreads();
    }

    for (int n = 0; n < TILE / 8; n++) {
        for (int half = 0; half < 2; half++) {
            const int row = row0 + warp * 16 + half * 8 + lane / 4;
            float* at = out + size_t(row) * outputs + output0 + n * 8 + lane % 4 * 2;
            *reinterpret_cast<float2*>(at) = make_float2(sums[n][half * 2], sums[n][half * 2 + 1]);
        }
    }
}
