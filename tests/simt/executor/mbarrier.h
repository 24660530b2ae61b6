// mbarriers: barriers in shared memory that count arrivals of threads and bytes of TMA, phase after phase.
//
// The 64 bits are opaque to a kernel; the executor keeps a number there, by which it knows the barrier, and the rest
// here.
//
//   init(2)                arrivals left 2, bytes left 0, phase 0
//   arrive.expect_tx(64)   arrivals left 1, bytes left 64
//   64 bytes arrive        arrivals left 1, bytes left 0
//   arrive                 phase 0 is complete: its waiters go on, and phase 1 begins with 2 arrivals left
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block.h"
#include "clocks.h"

namespace simt {

struct Mbarrier {
    struct Waiter {
        Lane* lane;
        const void* code;
    };

    uintptr_t address;
    unsigned number;
    // Who initialised it and when, and whether a fence made that visible to TMA.
    Who initialiser;
    uint32_t init_time;
    bool fenced;
    unsigned arrivals;
    unsigned arrivals_left;
    // Of a phase whose bytes arrive before they are expected it is negative.
    int64_t bytes_left;
    uint32_t phase;
    // All for this phase: of the other parity none waits.
    std::vector<Waiter> waiters;
    // How many phases there were up to that of the last TMA load, and up to the last that a thread waited for.
    uint32_t phases_loaded;
    uint32_t phases_waited;
    const Lane* loader;
    const void* load_code;
    // What was before the arrivals.
    Clock clock;
};

void begin_mbarriers();

// The barrier at an address that a lane uses: an error if there is none, or if the lane does not know of its
// initialisation.
Mbarrier& find_mbarrier(const Lane& lane, const void* barrier, const void* code);
Mbarrier& mbarrier(unsigned number);

// Bytes of TMA arrive that were sent in a phase.
void arrive_bytes(Mbarrier& barrier, unsigned bytes, uint32_t phase, const Lane& sender, const void* code);

// An error if the block ends with loads that nobody waited for: they may still be under way.
void check_loads_at_end();

// "2 threads of warps 1 wait for …" for each barrier that threads wait for; empty if there is none.
std::string mbarrier_waits();
// Where the first of them waits.
const void* mbarrier_place();

}  // namespace simt
