// The indices of a thread, and the barrier of its block.
#pragma once

#include "fiber_switch.h"
#include "qualifiers.h"
#include "vector_types.h"

namespace simt {

// Constant for as long as a kernel's function runs, so g++ may call them once.
SIMT_RUNTIME uint3 thread_index() __attribute__((const));
SIMT_RUNTIME uint3 block_index() __attribute__((const));
SIMT_RUNTIME dim3 block_size() __attribute__((const));
SIMT_RUNTIME dim3 grid_size() __attribute__((const));

// Barriers are told apart by their place in the source.
SIMT_RUNTIME Switch come_to_barrier(const char* file, int line);

}  // namespace simt

#define threadIdx (simt::thread_index())
#define blockIdx (simt::block_index())
#define blockDim (simt::block_size())
#define gridDim (simt::grid_size())
#define warpSize 32

#define __syncthreads() simt::go(simt::come_to_barrier(__FILE__, __LINE__))
