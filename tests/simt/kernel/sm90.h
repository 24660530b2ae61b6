// The functions of kernels/cuda/sm90/ptx.cuh for the executor; what they do is said there, and in the PTX ISA. That
// file has defined ptx::u64 and ptx::TensorMap.
#pragma once

#include "sm90_runtime.h"

namespace ptx {

// The lower half of the address, which is aligned as shared memory is.
SIMT_INLINE u32 shared(const void* p) { return static_cast<u32>(reinterpret_cast<uintptr_t>(p)); }

SIMT_INLINE void mbarrier_init(u64* barrier, u32 arrivals) { simt::init_mbarrier(barrier, arrivals); }
SIMT_INLINE void mbarrier_init_fence() { simt::fence_mbarrier_init(); }
SIMT_INLINE void mbarrier_arrive(u64* barrier) { simt::arrive(barrier, 0); }
SIMT_INLINE void mbarrier_arrive_expect(u64* barrier, u32 bytes) { simt::arrive(barrier, bytes); }
SIMT_INLINE void mbarrier_wait(u64* barrier, u32 parity) { simt::go(simt::come_to_mbarrier(barrier, parity)); }

SIMT_INLINE void tma_prefetch(const TensorMap*) {}
SIMT_INLINE void tma_load(void* to, const TensorMap* map, u64* barrier, int x, int y) {
    simt::load_box(to, {map, 2, {x, y, 0}}, barrier);
}
SIMT_INLINE void tma_load(void* to, const TensorMap* map, u64* barrier, int x, int y, int z) {
    simt::load_box(to, {map, 3, {x, y, z}}, barrier);
}
SIMT_INLINE void tma_store(const TensorMap* map, const void* from, int x, int y) {
    simt::store_box({map, 2, {x, y, 0}}, from, false);
}
SIMT_INLINE void tma_store(const TensorMap* map, const void* from, int x, int y, int z) {
    simt::store_box({map, 3, {x, y, z}}, from, false);
}
SIMT_INLINE void tma_add(const TensorMap* map, const void* from, int x, int y) {
    simt::store_box({map, 2, {x, y, 0}}, from, true);
}
SIMT_INLINE void tma_commit() { simt::commit_stores(); }
template <int N>
SIMT_INLINE void tma_wait_read() {
    simt::wait_for_stores(N);
}
template <int N>
SIMT_INLINE void tma_wait() {
    simt::wait_for_stores(N);
}
SIMT_INLINE void fence_proxy_async() { simt::fence_proxy(); }

SIMT_INLINE void stmatrix_x4(void* row, u32 a, u32 b, u32 c, u32 d) {
    simt::go(simt::come_to_store(row, {a, b, c, d}));
}

template <int N>
SIMT_INLINE void registers_decrease() {
    static_assert(N >= 24 && N <= 256 && N % 8 == 0, "setmaxnreg takes multiples of eight from 24 to 256");
    simt::go(simt::come_to_registers(N, false));
}
template <int N>
SIMT_INLINE void registers_increase() {
    static_assert(N >= 24 && N <= 256 && N % 8 == 0, "setmaxnreg takes multiples of eight from 24 to 256");
    simt::go(simt::come_to_registers(N, true));
}

SIMT_INLINE void named_barrier(int barrier, int threads) { simt::go(simt::come_to_named_barrier(barrier, threads)); }

SIMT_INLINE void wgmma_fence() { simt::go(simt::come_to_wgmma_fence()); }
SIMT_INLINE void wgmma_commit() { simt::go(simt::come_to_wgmma_commit()); }
template <int N>
SIMT_INLINE void wgmma_wait() {
    simt::go(simt::come_to_wgmma_wait(N));
}
// The compiler knows that the executor has the accumulators' address.
template <int N>
SIMT_INLINE void wgmma_keep(float (&)[N]) {}

// The executor's own format: the whole address, in units of 16 bytes as in the hardware's.
SIMT_INLINE u64 wgmma_descriptor(const void* slab) { return reinterpret_cast<uintptr_t>(slab) / 16; }

template <int N>
SIMT_INLINE void wgmma(float (&sums)[N / 2], u64 a, u64 b) {
    static_assert(N >= 8 && N <= 256 && N % 8 == 0, "wgmma has multiples of eight columns to 256");
    simt::go(simt::come_to_wgmma(sums, N, nullptr, a, b));
}
template <int N>
SIMT_INLINE void wgmma(float (&sums)[N / 2], const u32 (&a)[4], u64 b) {
    static_assert(N >= 8 && N <= 64 && N % 8 == 0, "contiguous N: the descriptor has one group of 64 columns");
    simt::go(simt::come_to_wgmma(sums, N, a, 0, b));
}

}  // namespace ptx
