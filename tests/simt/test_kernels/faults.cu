// Kernels that are wrong in one way each; self_test.cpp says what must be found.
#include "../../../kernels/cuda/ptx.cuh"

#define ALL 0xffffffffu

// Faults on global memory.

extern "C" __global__ void fault_before_begin(float* data) { data[int(threadIdx.x) - 1] = 0; }

extern "C" __global__ void fault_null(float*) { *static_cast<volatile float*>(nullptr) = 1; }

extern "C" __global__ void fault_read_first(float* data) {
    if (data[0] == 1) data[1] = 2;
}

extern "C" __global__ void fault_vector_past_end(float* data, int count) {
    reinterpret_cast<float4*>(data)[count / 4] = make_float4(1, 2, 3, 4);
}

extern "C" __global__ void fault_misaligned_vector(float* data) {
    const float4 v = *reinterpret_cast<const float4*>(data + 1);
    data[8] = v.x + v.y + v.z + v.w;
}

extern "C" __global__ void fault_copy_past_end(float* data, int count) {
    __shared__ __align__(16) float to[4];
    ptx::cp_async_16(to, data + count / 4 * 4, 16);
}

extern "C" __global__ void fault_misaligned_copy(float* data) {
    __shared__ __align__(16) float to[8];
    ptx::cp_async_16(to, data + 1, 16);
}

extern "C" __global__ void fault_copy_to_global(float* data) { ptx::cp_async_16(data + 4, data, 16); }

// Faults on shared memory.

extern "C" __global__ void fault_dynamic_past_end(float* data, int count) {
    DYNAMIC_SHARED(float, memory);
    memory[count] = data[0];
}

extern "C" __global__ void fault_static_past_end(float* data, int index) {
    __shared__ float memory[4];
    memory[index] = data[0];
    data[1] = memory[0];
}

extern "C" __global__ void fault_misaligned_ldmatrix(float* data) {
    __shared__ __align__(16) unsigned memory[8 * 32];
    for (int i = 0; i < 8; i++) memory[i * 32 + threadIdx.x] = i;
    __syncthreads();
    ptx::u32 r[4];
    ptx::ldmatrix_x4(r, reinterpret_cast<char*>(memory) + threadIdx.x % 8 * 16 + 8);
    data[threadIdx.x] = r[0];
}

extern "C" __global__ void fault_race_in_warp(float* data) {
    __shared__ float memory[32];
    memory[threadIdx.x] = data[threadIdx.x];
    data[threadIdx.x] = memory[threadIdx.x ^ 1];
}

extern "C" __global__ void fault_race_of_warps(float* data) {
    __shared__ float memory[64];
    memory[threadIdx.x] = data[threadIdx.x];
    __syncwarp();
    data[threadIdx.x] = memory[threadIdx.x ^ 32];
}

// Bytes in the same word do not race; only thread 33's write to byte 34 does.
extern "C" __global__ void fault_race_of_bytes(float* data) {
    __shared__ unsigned char memory[64];
    memory[threadIdx.x] = threadIdx.x;
    if (threadIdx.x == 33) memory[34] = 0;
    __syncthreads();
    data[threadIdx.x] = memory[threadIdx.x ^ 1];
}

extern "C" __global__ void fault_write_after_read(float* data) {
    __shared__ float memory[64];
    memory[threadIdx.x] = 1;
    __syncthreads();
    data[threadIdx.x] = memory[threadIdx.x ^ 32];
    memory[threadIdx.x] = 2;
}

// After reads by several warps, only a barrier of the block orders a write.
extern "C" __global__ void fault_write_after_many_reads(float* data) {
    __shared__ float memory[1];
    if (threadIdx.x == 40) memory[0] = 1;
    __syncthreads();
    data[threadIdx.x] = memory[0];
    __syncwarp();
    if (threadIdx.x == 0) memory[0] = 2;
}

extern "C" __global__ void fault_atomic_and_read(float* data) {
    __shared__ float sum[1];
    if (threadIdx.x == 0) sum[0] = 0;
    __syncthreads();
    atomicAdd(sum, 1.0f);
    data[threadIdx.x] = sum[0];
}

extern "C" __global__ void fault_uninitialised(float* data) {
    DYNAMIC_SHARED(float, memory);
    if (threadIdx.x != 7) memory[threadIdx.x] = 0;
    __syncthreads();
    data[threadIdx.x] = memory[threadIdx.x];
}

// Faults with cp.async in flight.

extern "C" __global__ void fault_read_own_copy(float* data) {
    __shared__ __align__(16) float memory[64 * 4];
    ptx::cp_async_16(memory + threadIdx.x * 4, data, 16);
    ptx::cp_async_commit();
    data[threadIdx.x + 4] = memory[threadIdx.x * 4];
}

// A wait covers committed copies only.
extern "C" __global__ void fault_uncommitted_copy(float* data) {
    __shared__ __align__(16) float memory[64 * 4];
    ptx::cp_async_16(memory + threadIdx.x * 4, data, 16);
    ptx::cp_async_wait<0>();
    data[threadIdx.x + 4] = memory[threadIdx.x * 4];
}

extern "C" __global__ void fault_write_to_copy(float* data) {
    __shared__ __align__(16) float memory[64 * 4];
    ptx::cp_async_16(memory + threadIdx.x * 4, data, 16);
    ptx::cp_async_commit();
    memory[threadIdx.x * 4 + 3] = 1;
    ptx::cp_async_wait<0>();
}

extern "C" __global__ void fault_read_copy_of_other(float* data) {
    __shared__ __align__(16) float memory[64 * 4];
    ptx::cp_async_16(memory + threadIdx.x * 4, data, 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncwarp();
    data[threadIdx.x + 4] = memory[(threadIdx.x ^ 32) * 4];
}

// Faults at barriers and collectives.

extern "C" __global__ void fault_exit_before_barrier(float* data) {
    if (threadIdx.x == 5) return;
    __syncthreads();
    data[threadIdx.x] = 0;
}

extern "C" __global__ void fault_two_barriers(float* data) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    data[threadIdx.x] = 0;
}

extern "C" __global__ void fault_barrier_and_shuffle(float* data) {
    if (threadIdx.x % 32 < 16) {
        __syncthreads();
    } else {
        data[threadIdx.x] = __shfl_xor_sync(ALL, 1.0f, 1);
    }
}

extern "C" __global__ void fault_two_collectives(float* data) {
    if (threadIdx.x % 2 == 0) {
        data[threadIdx.x] = __shfl_xor_sync(ALL, 1.0f, 2);
    } else {
        data[threadIdx.x] = __ballot_sync(ALL, 1);
    }
}

extern "C" __global__ void fault_outside_mask(float* data) { data[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 0); }

extern "C" __global__ void fault_mma_without_a_lane(float* data) {
    if (threadIdx.x == 31) return;
    const ptx::u32 a[4] = {}, b[2] = {};
    float c[4] = {};
    ptx::mma_16x8x16(c, a, b);
    data[threadIdx.x] = c[0];
}

extern "C" __global__ void fault_division(int* data) { data[threadIdx.x] = 1 / data[0]; }
