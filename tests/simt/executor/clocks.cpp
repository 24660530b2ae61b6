#include "clocks.h"

#include <algorithm>
#include <cstring>

namespace simt {
namespace {

Clock of_lanes[MAX_THREADS];

Clock& clock_of(const Lane& lane) { return of_lanes[index_of(lane.who)]; }

// Of which the compiler makes what vectors the processor has.
typedef uint32_t Eight __attribute__((vector_size(32)));
static_assert(MAX_THREADS % 8 == 0 && CLOCK_ENTRIES % 8 == 0);

void merge(uint32_t* into, const uint32_t* from, unsigned begin, unsigned end) {
    for (unsigned i = begin; i < end; i += 8) {
        Eight a, b;
        memcpy(&a, into + i, sizeof a);
        memcpy(&b, from + i, sizeof b);
        a = a > b ? a : b;
        memcpy(into + i, &a, sizeof a);
    }
}

void merge(Clock& into, const Clock& from) {
    for (auto half : {&Clock::known, &Clock::visible}) {
        merge(into.*half, from.*half, 0, executor.threads);
        merge(into.*half, from.*half, MAX_THREADS, CLOCK_ENTRIES);
    }
}

// Brings up to date what the lane knows by barriers of its warp, and of itself.
Clock& current_clock(const Lane& lane) {
    Clock& clock = clock_of(lane);
    uint32_t* const warp = clock.known + lane.warp->index * WARP_SIZE;
    for (unsigned i = 0; i < WARP_SIZE; i++) warp[i] = std::max(warp[i], lane.warp->sync_time);
    clock.known[index_of(lane.who)] = executor.now + 1;
    return clock;
}

}  // namespace

Clocks clocks;

void Clocks::clear() { memset(of_lanes, 0, sizeof of_lanes); }

bool Clocks::knows(const Lane& lane, uint32_t time, Who who) const {
    const unsigned index = index_of(who);
    if (!on_ || index >= CLOCK_ENTRIES || (who & SEVERAL_LANES) != 0) return false;
    return time < clock_of(lane).known[index];
}

bool Clocks::is_visible(const Lane& lane, uint32_t time, Who who) const {
    const unsigned index = index_of(who);
    return index >= CLOCK_ENTRIES || time < clock_of(lane).visible[index];
}

void Clocks::release(const Lane& lane, Clock& into) {
    merge(into, current_clock(lane));
    executor.now++;
}

void Clocks::acquire(const Lane& lane, const Clock& from) { merge(clock_of(lane), from); }

void Clocks::learn(const Lane& lane, Who agent, uint32_t time) {
    uint32_t& known = clock_of(lane).known[index_of(agent)];
    known = std::max(known, time);
}

void Clocks::fence(const Lane& lane) {
    Clock& clock = current_clock(lane);
    executor.now++;
    // What barriers of the block order is not in the clock.
    for (unsigned i = 0; i < executor.threads; i++) {
        clock.visible[i] = std::max({clock.visible[i], clock.known[i], executor.barrier_time});
    }
}

void Clocks::merge_warp(const Warp& warp) {
    static Clock all;
    memset(&all, 0, sizeof all);
    for (unsigned i = 0; i < WARP_SIZE; i++) merge(all, current_clock(warp.lanes[i]));
    for (unsigned i = 0; i < WARP_SIZE; i++) merge(clock_of(warp.lanes[i]), all);
    executor.now++;
}

void Clocks::merge_block() {
    static Clock all;
    memset(&all, 0, sizeof all);
    for (unsigned i = 0; i < executor.threads; i++) merge(all, clock_of(executor.lanes[i]));
    for (unsigned i = 0; i < executor.threads; i++) merge(clock_of(executor.lanes[i]), all);
}

}  // namespace simt
