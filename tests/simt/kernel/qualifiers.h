// CUDA's qualifiers.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))

// The only writable statics of a kernel's object file: the build script moves them to a section of their own, which the
// executor watches. A section attribute would not do here, since g++ ignores it in templates.
#define __shared__ static

// Shared memory whose size the launch gives.
#define DYNAMIC_SHARED(T, name) T* name = reinterpret_cast<T*>(simt::dynamic_shared)

// Everything here is inlined into kernels.
#define SIMT_INLINE inline __attribute__((always_inline))

// Functions of the executor.
#define SIMT_RUNTIME __attribute__((visibility("hidden")))

namespace simt {

extern SIMT_RUNTIME unsigned char dynamic_shared[];

}  // namespace simt
