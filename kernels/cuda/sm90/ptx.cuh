// PTX ISA instructions of compute capability 9.0 behind one-line functions: mbarriers, TMA and wgmma. Under
// CROSSALIGN_SIMT (tests/simt) the same names are functions of the executor.
#pragma once
#include "../ptx.cuh"

namespace ptx {

typedef unsigned long long u64;

// What TMA knows of a tensor: where it lies, its shape, and the box that one instruction moves. The host encodes it
// (cuTensorMapEncodeTiled) and passes it as a __grid_constant__ parameter.
struct alignas(64) TensorMap {
    u64 opaque[16];
};

}  // namespace ptx

#ifdef CROSSALIGN_SIMT
#include "sm90.h"
#else

namespace ptx {

// ---- mbarrier: a barrier in shared memory that counts arrivals and bytes. Its phases alternate in parity, 0 first.

// A phase of this barrier completes after `arrivals` arrivals and all bytes that they expect.
__device__ __forceinline__ void mbarrier_init(u64* barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared(barrier)), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to TMA; a barrier of the block must follow.
__device__ __forceinline__ void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

__device__ __forceinline__ void mbarrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared(barrier)) : "memory");
}

// Arrives, and adds `bytes` to those that this phase waits for.
__device__ __forceinline__ void mbarrier_arrive_expect(u64* barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared(barrier)), "r"(bytes) : "memory");
}

// Waits until the phase of this parity is complete. No trap after many tries: with one, ptxas ignores setmaxnreg.
__device__ __forceinline__ void mbarrier_wait(u64* barrier, u32 parity) {
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "retry:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 complete, [%0], %1;\n"
        "@!complete bra retry;\n"
        "}" ::"r"(shared(barrier)), "r"(parity) : "memory");
}

// ---- TMA: one thread moves a box between global and shared memory. What lies outside of the tensor is read as zeros
// and not written. Coordinates are in elements, the contiguous dimension first.

__device__ __forceinline__ void tma_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Loads a box; the barrier counts its bytes as they arrive.
__device__ __forceinline__ void tma_load(void* to, const TensorMap* map, u64* barrier, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
                 ::"r"(shared(to)), "l"(map), "r"(shared(barrier)), "r"(x), "r"(y) : "memory");
}
__device__ __forceinline__ void tma_load(void* to, const TensorMap* map, u64* barrier, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
                 ::"r"(shared(to)), "l"(map), "r"(shared(barrier)), "r"(x), "r"(y), "r"(z) : "memory");
}

// Stores a box; part of this thread's open group.
__device__ __forceinline__ void tma_store(const TensorMap* map, const void* from, int x, int y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"(map), "r"(shared(from)), "r"(x), "r"(y) : "memory");
}
__device__ __forceinline__ void tma_store(const TensorMap* map, const void* from, int x, int y, int z) {
    asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];"
                 ::"l"(map), "r"(shared(from)), "r"(x), "r"(y), "r"(z) : "memory");
}

// Adds a box to what is in global memory, in the map's type; the L2 cache adds.
__device__ __forceinline__ void tma_add(const TensorMap* map, const void* from, int x, int y) {
    asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.bulk_group [%0, {%2, %3}], [%1];"
                 ::"l"(map), "r"(shared(from)), "r"(x), "r"(y) : "memory");
}

// Closes this thread's group of stores.
__device__ __forceinline__ void tma_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups have not yet read their shared memory.
template <int N>
__device__ __forceinline__ void tma_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }

// Waits until at most N of this thread's groups are pending.
template <int N>
__device__ __forceinline__ void tma_wait() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory"); }

// Orders this thread's stores to shared memory before reads by TMA and wgmma, which are another proxy.
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- Warps.

// Stores four 8×8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void stmatrix_x4(void* row, u32 a, u32 b, u32 c, u32 d) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(shared(row)), "r"(a), "r"(b), "r"(c), "r"(d) : "memory");
}

// Gives registers of a warpgroup back, or takes some: from now on it has N a thread.
template <int N>
__device__ __forceinline__ void registers_decrease() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N>
__device__ __forceinline__ void registers_increase() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }

// A barrier of `threads` threads, whole warps; barrier 0 is __syncthreads.
__device__ __forceinline__ void named_barrier(int barrier, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// ---- wgmma: the product of a warpgroup, which runs while its threads go on.

// Orders accesses to accumulators, and to operands in registers, before the next wgmma.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Closes a group of products.
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most N groups are pending.
template <int N>
__device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// Keeps the compiler from moving accesses of accumulators over this point: it does not know that wgmma goes on.
template <int N>
__device__ __forceinline__ void wgmma_keep(float (&sums)[N]) {
#pragma unroll
    for (int n = 0; n < N; n++) asm volatile("" : "+f"(sums[n])::"memory");
}

// The descriptor of an operand in shared memory (PTX ISA, "Matrix Descriptor Format"): rows of 128 bytes in the 128-byte
// swizzle, as TMA writes them, eight rows from one group to the next. K steps along a row add bytes / 16.
__device__ __forceinline__ u64 wgmma_descriptor(const void* slab) {
    constexpr u64 SWIZZLE_128 = 1, STRIDE = 1024, LEADING = 16;
    return SWIZZLE_128 << 62 | STRIDE >> 4 << 32 | LEADING >> 4 << 16 | (shared(slab) & 0x3ffff) >> 4;
}

// sums += a · b of f16 operands: a 64×16 and b 16×N, both in shared memory with contiguous K. Of warp w, lane l holds
// rows 16 w + l / 4 and that plus 8, columns 2 (l % 4) of each group of eight: as mma_16x8x16.
template <int N>
__device__ __forceinline__ void wgmma(float (&sums)[N / 2], u64 a, u64 b);

// The same with a in registers (fragments as those of mma_16x8x16), and b with contiguous N.
template <int N>
__device__ __forceinline__ void wgmma(float (&sums)[N / 2], const u32 (&a)[4], u64 b);

#define EIGHT(i) "+f"(sums[i]), "+f"(sums[i + 1]), "+f"(sums[i + 2]), "+f"(sums[i + 3]), \
                 "+f"(sums[i + 4]), "+f"(sums[i + 5]), "+f"(sums[i + 6]), "+f"(sums[i + 7])
#define TO_7 "%0, %1, %2, %3, %4, %5, %6, %7"
#define TO_15 TO_7 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define TO_31 TO_15 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TO_47 TO_31 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TO_63 TO_47 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TO_71 TO_63 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define TO_95 TO_71 ", %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87" \
                    ", %88, %89, %90, %91, %92, %93, %94, %95"
#define SUMS_7 EIGHT(0)
#define SUMS_15 SUMS_7, EIGHT(8)
#define SUMS_31 SUMS_15, EIGHT(16), EIGHT(24)
#define SUMS_47 SUMS_31, EIGHT(32), EIGHT(40)
#define SUMS_63 SUMS_47, EIGHT(48), EIGHT(56)
#define SUMS_71 SUMS_63, EIGHT(64)
#define SUMS_95 SUMS_71, EIGHT(72), EIGHT(80), EIGHT(88)

// The last three operands: the product is added to sums (1), and neither operand is negated.
#define WGMMA(N, LAST, A, B)                                                                                    \
    template <>                                                                                                 \
    __device__ __forceinline__ void wgmma<N>(float (&sums)[N / 2], u64 a, u64 b) {                              \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" TO_##LAST "}, %" #A ", %" #B    \
                     ", 1, 1, 1, 0, 0;" : SUMS_##LAST : "l"(a), "l"(b) : "memory");                             \
    }
#define WGMMA_REGISTERS(N, LAST, A0, A1, A2, A3, B)                                                             \
    template <>                                                                                                 \
    __device__ __forceinline__ void wgmma<N>(float (&sums)[N / 2], const u32 (&a)[4], u64 b) {                  \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" TO_##LAST "}, {%" #A0 ", %" #A1 \
                     ", %" #A2 ", %" #A3 "}, %" #B ", 1, 1, 1, 1;"                                              \
                     : SUMS_##LAST : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b) : "memory");            \
    }
WGMMA(16, 7, 8, 9)
WGMMA(32, 15, 16, 17)
WGMMA(64, 31, 32, 33)
WGMMA(96, 47, 48, 49)
WGMMA(128, 63, 64, 65)
WGMMA(144, 71, 72, 73)
WGMMA(192, 95, 96, 97)
WGMMA_REGISTERS(64, 31, 32, 33, 34, 35, 36)
#undef WGMMA
#undef WGMMA_REGISTERS

}  // namespace ptx

#endif

namespace ptx {

// The 128-byte swizzle repeats every eight rows, and goes by addresses: what TMA swizzles begins at multiples of this.
constexpr int SWIZZLE_BYTES = 1024;

// Bytes of dynamic shared memory in front of the first slab.
__device__ __forceinline__ u32 swizzle_padding(const void* memory) {
    return (SWIZZLE_BYTES - shared(memory) % SWIZZLE_BYTES) % SWIZZLE_BYTES;
}

// As wgmma_keep of one row of accumulators.
template <int M, int N>
__device__ __forceinline__ void wgmma_keep(float (&sums)[M][N]) {
#pragma unroll
    for (int m = 0; m < M; m++) wgmma_keep(sums[m]);
}

}  // namespace ptx
