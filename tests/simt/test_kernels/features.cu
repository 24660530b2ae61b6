// Kernels that are right; self_test.cpp knows their results.
#include "../../../kernels/cuda/ptx.cuh"

#define ALL 0xffffffffu

// Indices of threads and blocks, with arguments of several sizes and alignments. out [blocks, threads].
struct FeatureParams {
    unsigned char factor;
    float4 addend;
};
extern "C" __global__ void feature_indices(char one, FeatureParams params, unsigned* out, uint2 pair, short two) {
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    out[block * threads + thread] =
        (block * 1000 + thread) * params.factor + unsigned(params.addend.w) + one + two + pair.y;
}

// out [8, 32].
extern "C" __global__ void feature_shuffles(int* out) {
    const int lane = threadIdx.x;
    out[0 * 32 + lane] = __shfl_sync(ALL, lane * 10, 5);
    out[1 * 32 + lane] = __shfl_xor_sync(ALL, lane * 10, 3);
    out[2 * 32 + lane] = __shfl_down_sync(ALL, lane * 10u, 4);
    out[3 * 32 + lane] = __shfl_down_sync(ALL, float(lane), 4, 8);
    out[4 * 32 + lane] = __ballot_sync(ALL, lane % 3 == 0);
    out[5 * 32 + lane] = __any_sync(ALL, lane == 9) + 2 * __all_sync(ALL, lane < 31);
    // Halves of a warp on their own, one with more to do.
    if (lane < 16) {
        out[6 * 32 + lane] = __shfl_sync(0xffffu, lane, 3);
    } else {
        out[6 * 32 + lane] = __shfl_sync(0xffff0000u, __shfl_xor_sync(0xffff0000u, lane, 1), 20);
    }
    // Lanes outside a mask may exit.
    if (lane >= 8) return;
    out[7 * 32 + lane] = __shfl_xor_sync(0xffu, lane, 1);
}

// The registers of each lane after a load of four 8×8 matrices, plain and transposed. out [2, 32, 4].
extern "C" __global__ void feature_ldmatrix(unsigned* out) {
    __shared__ __align__(16) unsigned short matrices[4][8][8];
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) matrices[i / 64][i / 8 % 8][i % 8] = i;
    __syncwarp();
    ptx::u32 plain[4], transposed[4];
    ptx::ldmatrix_x4(plain, matrices[lane / 8][lane % 8]);
    ptx::ldmatrix_x4_trans(transposed, matrices[lane / 8][lane % 8]);
    for (int i = 0; i < 4; i++) {
        out[lane * 4 + i] = plain[i];
        out[128 + lane * 4 + i] = transposed[i];
    }
}

// One mma with fragments as the PTX ISA draws them: a [16, 16], b [16, 8], c and out [16, 8].
extern "C" __global__ void feature_mma(const __half* a, const __half* b, const float* c, float* out) {
    const int group = threadIdx.x / 4;
    const int member = threadIdx.x % 4;
    auto pair = [&](__half x, __half y) { return __half_as_ushort(x) | unsigned(__half_as_ushort(y)) << 16; };
    ptx::u32 left[4], right[2];
    for (int i = 0; i < 4; i++) {
        const __half* at = a + (group + i % 2 * 8) * 16 + member * 2 + i / 2 * 8;
        left[i] = pair(at[0], at[1]);
    }
    for (int i = 0; i < 2; i++) {
        const __half* at = b + (member * 2 + i * 8) * 8 + group;
        right[i] = pair(at[0], at[8]);
    }
    float sums[4];
    for (int i = 0; i < 4; i++) sums[i] = c[(group + i / 2 * 8) * 8 + member * 2 + i % 2];
    ptx::mma_16x8x16(sums, left, right);
    for (int i = 0; i < 4; i++) out[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = sums[i];
}

// input and out [count]: to f16 and back, to bf16 and back.
extern "C" __global__ void feature_half(const float* input, float* through_half, float* through_bfloat16, int count) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        through_half[i] = __half2float(__float2half_rn(input[i]));
        through_bfloat16[i] = __bfloat162float(__float2bfloat16(input[i]));
    }
}

// A sum of all threads by atomics, in shared and in global memory. out [2], zeroed.
extern "C" __global__ void feature_atomics(float* out, int* count) {
    __shared__ float sum[1];
    if (threadIdx.x == 0) sum[0] = 0;
    __syncthreads();
    atomicAdd(sum, float(threadIdx.x));
    atomicAdd(count, 1);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd(out, sum[0]);
}

// Lanes of a warp exchange through memory.
extern "C" __global__ void feature_warp_barrier(int* out) {
    __shared__ int memory[64];
    const int thread = threadIdx.x;
    memory[thread] = thread;
    __syncwarp();
    const int other = memory[thread ^ 1];
    __syncwarp();
    memory[thread] = other * 2;
    __syncwarp();
    out[thread] = memory[thread ^ 1];
}

// Copies of 0, 6 and 16 bytes. from and out [32 · 8] of 16 bits.
extern "C" __global__ void feature_copies(const unsigned short* from, unsigned short* out) {
    DYNAMIC_SHARED(unsigned short, memory);
    const int thread = threadIdx.x;
    const int bytes = thread % 3 == 0 ? 0 : thread % 3 == 1 ? 6 : 16;
    ptx::cp_async_16(memory + thread * 8, bytes == 0 ? from : from + thread * 8, bytes);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
    const int other = thread ^ 1;
    for (int i = 0; i < 8; i++) out[other * 8 + i] = memory[other * 8 + i];
}

extern "C" __global__ void feature_arithmetic(unsigned* out) {
    out[0] = __dp4a(0x01ff7f80, 0x02020304, 100);
    out[1] = __dp4a(0x01ff7f80u, 0x02020304u, 100u);
    out[2] = __popc(0xf0f0) + __clz(1) * 100 + __funnelshift_r(0x12345678u, 0x9abcdef0u, 8);
    out[3] = __float_as_uint(rsqrtf(4.0f));
    out[4] = __float_as_uint(__int_as_float(0x3f800000) + __uint_as_float(0x40000000));
    out[5] = min(-1, 2) + max(3u, 4);
    out[6] = __float_as_uint(__fmaf_rn(2.0f, 3.0f, 1.0f));
    out[7] = __ldg(out) + sizeof(uint4) + alignof(float2) + sizeof(int3);
    out[8] = ptx::dp4a(0xff7f0180, 0xfe0280ff, 100);
    out[9] = __byte_perm(0x33221100, 0x77665544, 0x7520);
}

// Static shared memory of templates, linked into one program.
template <int COUNT>
__device__ __forceinline__ void reverse(int* data) {
    __shared__ int memory[COUNT];
    if (threadIdx.x < COUNT) memory[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    if (threadIdx.x < COUNT) data[threadIdx.x] = memory[COUNT - 1 - threadIdx.x];
}

// Stamped by a macro: KERNEL_NAMES: feature_reverse_20 feature_reverse_60
#define REVERSE(count) \
    extern "C" __global__ void __launch_bounds__(64) feature_reverse_##count(int* data) { reverse<count>(data); }
REVERSE(20)
REVERSE(60)

// Each thread has 100 KiB on its stack.
extern "C" __global__ void feature_stack(int* out, int step) {
    volatile int memory[25600];
    for (int i = 0; i < 25600; i++) memory[i] = i + threadIdx.x;
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < 25600; i += step) sum += memory[i];
    out[threadIdx.x] = sum;
}

extern "C" __global__ void feature_nothing() {}
