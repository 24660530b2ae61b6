// PTX ISA instructions behind one-line functions. Under CROSSALIGN_SIMT (tests/simt) the same names are functions of
// the executor, so that the kernels run on a CPU as they are.
#pragma once

#ifdef CROSSALIGN_SIMT
#include "simt.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Shared memory whose size is set at launch.
#define DYNAMIC_SHARED(T, name)                             \
    extern __shared__ __align__(128) unsigned char dynamic_shared[]; \
    T* name = reinterpret_cast<T*>(dynamic_shared)

namespace ptx {

typedef unsigned int u32;

__device__ __forceinline__ u32 shared(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

// Loads four 8×8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void ldmatrix_x4(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared(row)) : "memory");
}

// As ldmatrix_x4, with each matrix transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared(row)) : "memory");
}

// c += a · b: a 16×16, b 16×8 (columns contiguous), c 16×8; f16 products, f32 sums.
__device__ __forceinline__ void mma_16x8x16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Two f16 in a register, the first in the lower half.
__device__ __forceinline__ u32 pack(float x, float y) {
    const __half2 pair = __floats2half2_rn(x, y);
    return *reinterpret_cast<const u32*>(&pair);
}

// `sum` plus the products of four bytes and four signed bytes.
__device__ __forceinline__ int dp4a(u32 bytes, u32 signed_bytes, int sum) {
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(bytes), "r"(signed_bytes));
    return sum;
}

// Starts a copy of 16 bytes to shared memory: the first `bytes` (0 to 16) from global memory, then zeros.
__device__ __forceinline__ void cp_async_16(void* to, const void* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared(to)), "l"(from), "r"(bytes) : "memory");
}

// Closes a group of copies.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups are pending.
template <int N>
__device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

}  // namespace ptx

#endif
