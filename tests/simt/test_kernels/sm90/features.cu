// Right kernels for what ring_product does not do; with bugs that bugs.cuh names.
#include "../../../../kernels/cuda/sm90/ptx.cuh"
#include "bugs.cuh"

typedef ptx::u32 u32;
typedef ptx::u64 u64;

// Multiplies of `a` [64, 64] and `b` [N, 64] f16 that TMA loads, out [64, N] f32.
template <int N>
__device__ __forceinline__ void multiply(const ptx::TensorMap* a_map, const ptx::TensorMap* b_map, float* out) {
    DYNAMIC_SHARED(__half, slabs);
    u64* loaded = reinterpret_cast<u64*>(slabs + (64 + N) * 64);
    const int lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(loaded, 1);
        ptx::mbarrier_init_fence();
        ptx::mbarrier_arrive_expect(loaded, (64 + N) * 128);
        ptx::tma_load(slabs, a_map, loaded, 0, 0);
        ptx::tma_load(slabs + 64 * 64, b_map, loaded, 0, 0);
    }
    __syncthreads();
    ptx::mbarrier_wait(loaded, 0);
    float sums[N / 2];
    for (int i = 0; i < N / 2; i++) sums[i] = 1;
    const u64 a = ptx::wgmma_descriptor(slabs), b = ptx::wgmma_descriptor(slabs + 64 * 64);
    ptx::wgmma_fence();
    for (int k = 0; k < 4; k++) ptx::wgmma<N>(sums, a + k * 2, b + k * 2);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    for (int i = 0; i < N / 2; i++) {
        const int row = threadIdx.x / 32 * 16 + i / 2 % 2 * 8 + lane / 4;
        out[row * N + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
    }
}

// KERNEL_NAMES: multiply_8 multiply_24 multiply_144 multiply_256
#define MULTIPLY(N)                                                                                       \
    extern "C" __global__ void __launch_bounds__(128)                                                     \
        multiply_##N(const __grid_constant__ ptx::TensorMap a_map, const __grid_constant__ ptx::TensorMap b_map, \
                     float* out) {                                                                        \
        multiply<N>(&a_map, &b_map, out);                                                                 \
    }
MULTIPLY(8)
MULTIPLY(24)
MULTIPLY(144)
MULTIPLY(256)

// out [2, 64, 64] f32: for each of two warpgroups weights · values, weights [64, 64] f16 in registers, values
// [2, 64, 64] with contiguous columns, of which the last rows are outside of the map; the threads load `more`
// [64, 64] themselves, as they do the weights, and multiply by its sum with the values.
extern "C" __global__ void __launch_bounds__(256)
    weigh(const __half* weights, const __grid_constant__ ptx::TensorMap values_map, const __half* more, float* out,
          int bug) {
    DYNAMIC_SHARED(__half, slabs);
    u64* loaded = reinterpret_cast<u64*>(slabs + 3 * 64 * 64);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, group = threadIdx.x / 128;
    if (threadIdx.x == 0) {
        for (int g = 0; g < 2; g++) ptx::mbarrier_init(loaded + g, 1);
        ptx::mbarrier_init_fence();
        for (int g = 0; g < 2; g++) {
            ptx::mbarrier_arrive_expect(loaded + g, 8192);
            ptx::tma_load(slabs + g * 64 * 64, &values_map, loaded + g, 0, 0, g);
        }
    }
    __half* own = slabs + 2 * 64 * 64;
    for (int i = threadIdx.x; i < 64 * 64; i += 256) {
        const int row = i / 64, column = i % 64;
        own[row * 64 + (column / 8 ^ row % 8) * 8 + column % 8] = more[i];
    }
    if (bug != NO_PROXY_FENCE_BEFORE_WGMMA) ptx::fence_proxy_async();
    __syncthreads();

    auto word = [&](int row, int column) {
        const __half* at = weights + row * 64 + column;
        return __half_as_ushort(at[0]) | u32(__half_as_ushort(at[1])) << 16;
    };
    u32 left[4][4];
    float sums[32];
    for (int i = 0; i < 32; i++) sums[i] = 0;
    ptx::wgmma_fence();
    for (int k = 0; k < 4; k++) {
        const int row = warp * 16 + lane / 4, column = k * 16 + lane % 4 * 2;
        for (int i = 0; i < 4; i++) left[k][i] = word(row + i % 2 * 8, column + i / 2 * 8);
    }
    ptx::mbarrier_wait(loaded + group, 0);
    if (bug != OPERAND_WRITTEN_AFTER_FENCE) ptx::wgmma_fence();
    const u64 values = ptx::wgmma_descriptor(slabs + group * 64 * 64), others = ptx::wgmma_descriptor(own);
    // Sixteen rows of 128 bytes.
    for (int k = 0; k < 4; k++) {
        ptx::wgmma<64>(sums, left[k], values + k * 128);
        ptx::wgmma<64>(sums, left[k], others + k * 128);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    for (int i = 0; i < 32; i++) {
        const int row = group * 64 + warp * 16 + i / 2 % 2 * 8 + lane / 4;
        out[row * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
    }
}

// Four matrices by stmatrix, then read row after row. out [32, 8] of 16 bits.
extern "C" __global__ void store_matrices(unsigned short* out) {
    __shared__ __align__(16) unsigned short memory[32 * 8];
    const int lane = threadIdx.x;
    u32 words[4];
    // Element (row, column) of matrix m is 64 m + 8 row + column.
    for (int m = 0; m < 4; m++) {
        const u32 first = m * 64 + lane / 4 * 8 + lane % 4 * 2;
        words[m] = first | (first + 1) << 16;
    }
    ptx::stmatrix_x4(memory + lane * 8, words[0], words[1], words[2], words[3]);
    __syncwarp();
    for (int i = lane; i < 256; i += 32) out[i] = memory[i];
}

// Moves a box of 8 × 4 × 2 elements at (x, y, z) of one tensor to (to_x, to_y) of another with boxes of 8 × 8, through
// shared memory without a swizzle.
extern "C" __global__ void transfer(const __grid_constant__ ptx::TensorMap from_map,
                                    const __grid_constant__ ptx::TensorMap to_map, int x, int y, int z, int to_x,
                                    int to_y, int bytes, int add, int bug) {
    DYNAMIC_SHARED(unsigned char, memory);
    u64* loaded = reinterpret_cast<u64*>(memory + 1024);
    if (threadIdx.x != 0) return;
    ptx::mbarrier_init(loaded, 1);
    ptx::mbarrier_init_fence();
    ptx::mbarrier_arrive_expect(loaded, bytes);
    unsigned char* to = bug == BOX_PAST_SHARED_MEMORY ? memory + 1024 : memory;
    if (bug == WRONG_RANK) ptx::tma_load(to, &from_map, loaded, x, y);
    else ptx::tma_load(to, &from_map, loaded, x, y, z);
    if (bug == LOAD_UNDER_WAY_AT_END) return;
    ptx::mbarrier_wait(loaded, 0);
    if (add) ptx::tma_add(&to_map, memory, to_x, to_y);
    else ptx::tma_store(&to_map, memory, to_x, to_y);
    ptx::tma_commit();
    ptx::tma_wait<0>();
}

// Two halves of a block of 256 threads hand numbers to each other through shared memory, round after round: with
// mbarriers at which every thread arrives, one for each direction; and at the end with a named barrier within each
// half. out [256].
extern "C" __global__ void exchange(int* out, int rounds, int bug) {
    __shared__ int memory[128];
    __shared__ int squares[256];
    __shared__ u64 barriers[2];
    const int thread = threadIdx.x % 128, half = threadIdx.x / 128;
    u64 *written = barriers, *read = barriers + 1;
    if (threadIdx.x == 0) {
        ptx::mbarrier_init(written, 128);
        ptx::mbarrier_init(read, 128);
    }
    __syncthreads();
    int sum = 0;
    for (int round = 0; round < rounds; round++) {
        if (half == 0) {
            if (bug != NO_WAIT_BEFORE_WRITE) ptx::mbarrier_wait(read, round % 2 ^ 1);
            if (bug == ARRIVAL_BEFORE_WRITE) ptx::mbarrier_arrive(written);
            memory[thread] = thread * 10 + round;
            if (bug != ARRIVAL_BEFORE_WRITE) ptx::mbarrier_arrive(written);
        } else {
            if (bug != NO_WAIT_BEFORE_READ) ptx::mbarrier_wait(written, round % 2);
            sum += memory[thread ^ 1] + memory[thread ^ 32] + memory[0];
            ptx::mbarrier_arrive(read);
        }
    }
    squares[threadIdx.x] = thread * thread;
    const int count = bug == NAMED_BARRIER_OF_TOO_MANY                            ? 160
                      : bug == NAMED_BARRIER_OF_TWO_COUNTS && threadIdx.x % 128 < 32 ? 64
                                                                                     : 128;
    if (bug != NO_NAMED_BARRIER) ptx::named_barrier(1 + half, count);
    out[threadIdx.x] = sum + squares[threadIdx.x ^ 96];
}
