// The block that runs: its threads as lanes of warps, and which of them can go on.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernel/vector_types.h"
#include "fragments.h"
#include "limits.h"
#include "report.h"

namespace simt {

struct Warp;
struct Launch;
class DeviceMemory;

// What lanes of a warp do together. complete() runs once, in the last lane of a mask to come.
struct Operation {
    const char* name;
    void (*complete)(Warp& warp, uint32_t lanes);
};

// A place in a source: an address in the code, or what the compiler says.
struct Place {
    const void* code = nullptr;
    const char* file = nullptr;
    unsigned line = 0;
};

// The copies to shared memory that a thread started (cp.async), in their order. Groups are counted from the first that
// is not complete.
struct AsyncCopies {
    struct Copy {
        unsigned char* to;
        const unsigned char* from;
        unsigned bytes;
    };
    std::vector<Copy> copies;
    size_t done = 0;
    // How many copies each group ends behind.
    std::vector<size_t> ends;
    size_t groups_done = 0;

    void clear() {
        copies.clear();
        ends.clear();
        done = groups_done = 0;
    }
};

// A thread. What each meeting of a warp needs is in one cache line.
struct alignas(64) Lane {
    void* stack_pointer;
    Warp* warp;
    uint32_t index;
    // The set of this lane alone.
    uint32_t bit;
    // The collective that it came to last.
    const Operation* operation;
    uint32_t mask;
    // Its name in the shadow of shared memory: the warp, and the lane in the lower six bits.
    uint16_t who;
    // Whether its fiber is within a kernel, and not behind one.
    bool in_kernel;
    // Where in the code it came to a collective.
    const void* code;
    uint3 thread_index;
    AsyncCopies copies;
};

struct Warp {
    // Sets of lanes.
    uint32_t alive;
    uint32_t ready;
    uint32_t at_barrier;
    uint32_t at_collective;
    // What the first of those at a collective came for.
    const Operation* operation;
    uint32_t mask;
    // The last barrier of all lanes.
    uint32_t sync_time;
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
    // Counts what orders accesses: blocks, barriers, barriers of warps.
    uint32_t now = 1;
    // The last barrier of the block, or its begin.
    uint32_t barrier_time;

    // The warps with lanes that can go on, and perhaps others.
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
