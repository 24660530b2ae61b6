// Vector clocks: which accesses come before what a thread does now, where mbarriers and asynchronous units order them.
//
// A barrier of the block orders everything, so without mbarriers one time is enough (shared_memory.h). An mbarrier
// orders only what was before the arrivals with what is after the waits. So each thread has a clock: for every other
// thread the time up to which it knows its accesses to be done. An arrival adds the thread's clock to the barrier's, a
// wait adds the barrier's to the thread's:
//
//   thread 0   writes x at 5, arrives            barrier: {0: 6}
//   thread 7   waits for the barrier, reads x    it knows thread 0 up to 6, and 5 is before: fine
//   thread 9   reads x                           it knows nothing of thread 0: a race
//
// TMA and wgmma are threads of their own in these clocks, agents: who waits for one knows what it has read or written.
// They reach shared memory through another proxy, the asynchronous one, that sees a thread's ordinary stores only
// behind a proxy fence. So each clock has a second half, which a fence sets to the first, and which otherwise travels
// with it.
//
// Times only grow, so that what a clock knows of an earlier block is still true, and nothing is cleared between blocks.
#pragma once

#include <cstdint>

#include "block.h"
#include "who.h"

namespace simt {

constexpr unsigned CLOCK_ENTRIES = MAX_THREADS + AGENTS;

struct alignas(64) Clock {
    // By thread and agent: accesses before this time are done; and the asynchronous proxy sees them.
    uint32_t known[CLOCK_ENTRIES];
    uint32_t visible[CLOCK_ENTRIES];
};

class Clocks {
public:
    void clear();

    // From the first mbarrier, proxy fence, TMA or wgmma of a block on, threads have clocks.
    void begin_block() { on_ = false; }
    void use() { on_ = true; }
    bool on() const { return on_; }

    // Whether what one thread or agent did at a time is known to a lane to be done; and visible to what it starts.
    bool knows(const Lane& lane, uint32_t time, Who who) const;
    bool is_visible(const Lane& lane, uint32_t time, Who who) const;

    // A lane arrives at something whose clock this is; or has waited for it.
    void release(const Lane& lane, Clock& into);
    void acquire(const Lane& lane, const Clock& from);

    // A lane has waited for an agent's accesses before a time.
    void learn(const Lane& lane, Who agent, uint32_t time);

    // The proxy fence of a lane.
    void fence(const Lane& lane);

    // All these lanes know from here on what one of them knows.
    void merge_warp(const Warp& warp);
    void merge_block();

private:
    bool on_ = false;
};

extern Clocks clocks;

}  // namespace simt
