// The block that runs: its threads as lanes of warps, and which of them can go on.
//
// One host thread runs a launch, block by block. Each thread of a block is a fiber, which runs until it has to wait for
// others, at a barrier of the block, a collective of its warp (shuffle, vote, __syncwarp, ldmatrix, mma) or, of compute
// capability 9.0, an mbarrier, a named barrier or a product of its warpgroup, which know who waits for them:
//
//           choose_lane()               waits for others
//   ready ─────────────────▶ running ───────────────────────▶ at_barrier, at_collective, or known to what it waits for
//     ▲                         └─ kernel returns ─▶ exited        │
//     └──────────── make_ready(), by the last to arrive ───────────┘
//
// Where none is ready, a load of TMA arrives (tma.h); without one under way, a block whose threads wait is a deadlock.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernel/vector_types.h"
#include "async_groups.h"
#include "fragments.h"
#include "limits.h"
#include "report.h"

namespace simt {

struct Warp;
struct Launch;
class DeviceMemory;

// What lanes of a warp do together. complete() runs once, in the lane of the mask that arrives last.
struct Operation {
    const char* name;
    void (*complete)(Warp& warp, uint32_t lanes);
};

// A place in a source: an address in the code, or the file and line that the compiler gave.
struct Place {
    const void* code = nullptr;
    const char* file = nullptr;
    unsigned line = 0;
};

// A copy to shared memory (cp.async).
struct AsyncCopy {
    unsigned char* to;
    const unsigned char* from;
    unsigned bytes;
};

// A thread. What every collective needs of it is in one cache line.
struct alignas(64) Lane {
    void* stack_pointer;
    Warp* warp;
    uint32_t index;
    // The set of this lane alone: 1 << index.
    uint32_t bit;
    // The collective that it came to last, and the mask that it gave.
    const Operation* operation;
    uint32_t mask;
    // Its identity in the shadow of shared memory (Who): the warp, and the lane in the lower six bits.
    uint16_t who;
    // Whether its fiber is inside a kernel, and not between two.
    bool in_kernel;
    // Where in the code it came to a collective.
    const void* code;
    uint3 thread_index;
    AsyncGroups<AsyncCopy> copies;
};

struct Warp {
    // Sets of lanes, a bit each.
    uint32_t alive;
    uint32_t ready;
    uint32_t at_barrier;
    uint32_t at_collective;
    // The operation and mask of the first of those at a collective.
    const Operation* operation;
    uint32_t mask;
    // The time of the last __syncwarp of all lanes.
    uint32_t sync_time;
    // The time of the last wgmma_fence; 0 if there was none in this block.
    uint32_t fence_time;
    // Products of wgmma that it has not waited for.
    uint32_t pending_products;
    uint32_t index;
    Lane* lanes;

    // Operands and results, a lane each: of shuffles and votes, of ldmatrix, of mma.
    unsigned values[WARP_SIZE];
    unsigned sources[WARP_SIZE];
    const void* rows[WARP_SIZE];
    alignas(64) Words4 matrices[WARP_SIZE];
    alignas(64) Fragments fragments;
};

enum class Order { FORWARD, REVERSE, RANDOM };

struct Executor {
    Lane* current;
    // The clock: counts what orders accesses, begins of blocks, barriers of blocks and of warps.
    uint32_t now = 1;
    // The time of the block's last barrier, or of its begin.
    uint32_t barrier_time;

    // The warps with ready lanes, and perhaps others.
    uint32_t ready_warps;
    Order order;
    uint64_t random;

    unsigned threads;
    unsigned alive;
    unsigned waiting;
    Place barrier;

    uint3 block_index;
    const Launch* launch;
    DeviceMemory* memory;
    SimtReport report;

    Warp warps[MAX_WARPS];
    Lane lanes[MAX_THREADS];
};

extern Executor executor;

}  // namespace simt
