// What a CUDA source finds instead of nvcc's built-ins when g++ compiles it for the executor.
//
// Each thread of a block is a fiber of one host thread. What needs the other threads of the warp or of the block calls
// the executor (../executor); operands and results go by value, so that a kernel's local arrays stay out of the
// sanitizers' sight and cost nothing; but for the accumulators of wgmma, which are checked.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "arithmetic.h"
#include "half.h"
#include "memory.h"
#include "ptx.h"
#include "qualifiers.h"
#include "threads.h"
#include "vector_types.h"
#include "warp.h"

// After all headers, since the C++ library uses this name.
#define __noinline__ __attribute__((noinline))
