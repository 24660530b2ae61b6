// Who accesses memory: threads, and the units that do so in their name.
#pragma once

#include <cstdint>

#include "limits.h"

namespace simt {

// A thread (its warp, and its lane in the lower bits), an agent (as a thread of a warp beyond the last), or several
// threads, of a warp or of any.
typedef uint16_t Who;
constexpr unsigned WHO_WARP_SHIFT = 6;
constexpr Who SEVERAL_LANES = 32;
constexpr Who SEVERAL_WARPS = 63 << WHO_WARP_SHIFT;
// Several threads that clocks tell apart (shared_memory.h).
constexpr Who LISTED = 62 << WHO_WARP_SHIFT;
constexpr Who THREADS = 0xfff;

// Agents: TMA as it loads for one mbarrier, as it stores for one warp, and the tensor cores of a warpgroup.
constexpr unsigned MAX_MBARRIERS = 64;
constexpr unsigned MAX_WARPGROUPS = MAX_THREADS / WARPGROUP_SIZE;
constexpr unsigned FIRST_STORE_AGENT = MAX_MBARRIERS;
constexpr unsigned FIRST_WGMMA_AGENT = FIRST_STORE_AGENT + MAX_WARPS;
constexpr unsigned AGENTS = FIRST_WGMMA_AGENT + MAX_WARPGROUPS;

constexpr Who who_of_agent(unsigned agent) {
    return (MAX_WARPS + agent / WARP_SIZE) << WHO_WARP_SHIFT | agent % WARP_SIZE;
}
constexpr Who load_agent(unsigned mbarrier) { return who_of_agent(mbarrier); }
constexpr Who store_agent(unsigned warp) { return who_of_agent(FIRST_STORE_AGENT + warp); }
constexpr Who wgmma_agent(unsigned warpgroup) { return who_of_agent(FIRST_WGMMA_AGENT + warpgroup); }

// Threads count from 0, agents from MAX_THREADS.
constexpr unsigned index_of(Who who) {
    return (who & THREADS) >> WHO_WARP_SHIFT << 5 | (who & (WARP_SIZE - 1));
}

}  // namespace simt
