#include "named_barrier.h"

#include "../kernel/sm90_runtime.h"
#include "clocks.h"
#include "collective.h"
#include "findings.h"

namespace simt {
namespace {

constexpr unsigned COUNT = 16;

struct NamedBarrier {
    unsigned threads;
    // The warps that wait.
    uint32_t warps;
};

NamedBarrier barriers[COUNT];
bool used;

unsigned threads_at(const NamedBarrier& barrier) { return __builtin_popcount(barrier.warps) * WARP_SIZE; }

void require_all_lanes(Warp& warp, uint32_t lanes) { require_all(warp, lanes); }

constexpr Operation NAMED_BARRIER = {"a named barrier", require_all_lanes};

// What each of the threads did before is known to all of them.
void order(uint32_t warps) {
    static Clock clock;
    const auto for_each_lane = [&](auto&& action) {
        for (uint32_t rest = warps; rest != 0; rest &= rest - 1) {
            const Warp& warp = executor.warps[__builtin_ctz(rest)];
            for (unsigned i = 0; i < WARP_SIZE; i++) action(warp.lanes[i]);
        }
    };
    clock = {};
    for_each_lane([&](const Lane& lane) { clocks.release(lane, clock); });
    for_each_lane([&](const Lane& lane) { clocks.acquire(lane, clock); });
}

}  // namespace

void begin_named_barriers() {
    if (!used) return;
    used = false;
    for (NamedBarrier& barrier : barriers) barrier = {};
}

std::string named_barrier_waits() {
    std::string words;
    for (unsigned i = 0; i < COUNT; i++) {
        if (barriers[i].warps == 0) continue;
        words += (words.empty() ? "" : "; ") + std::to_string(threads_at(barriers[i])) + " of " +
                 std::to_string(barriers[i].threads) + " threads wait at named barrier " + std::to_string(i);
    }
    return words;
}

Switch come_to_named_barrier(int number, int threads) {
    const void* const code = __builtin_return_address(0);
    const Lane& lane = *executor.current;
    Warp& warp = *lane.warp;
    clocks.use();
    used = true;
    if (number < 0 || unsigned(number) >= COUNT) {
        fail(SIMT_BARRIER, &lane, {code}, "comes to named barrier %d; there are %u", number, COUNT);
    }
    if (threads <= 0 || threads % WARP_SIZE != 0 || unsigned(threads) > executor.threads) {
        fail(SIMT_BARRIER, &lane, {code}, "comes to a named barrier of %d threads in a block of %u", threads,
             executor.threads);
    }
    NamedBarrier& barrier = barriers[number];
    if (barrier.warps != 0 && barrier.threads != unsigned(threads)) {
        fail(SIMT_BARRIER, &lane, {code}, "comes to named barrier %d of %d threads, where others wait for %u", number,
             threads, barrier.threads);
    }
    const uint32_t lanes = arrive(NAMED_BARRIER, ALL_LANES, code);
    if (lanes == 0) return stop();
    complete(warp, NAMED_BARRIER, lanes);
    barrier.threads = threads;
    barrier.warps |= 1u << warp.index;
    if (threads_at(barrier) < barrier.threads) return stop();
    executor.report.barriers++;
    order(barrier.warps);
    for (uint32_t rest = barrier.warps & ~(1u << warp.index); rest != 0; rest &= rest - 1) {
        make_ready(executor.warps[__builtin_ctz(rest)], ALL_LANES);
    }
    barrier.warps = 0;
    make_ready(warp, ALL_LANES & ~lane.bit);
    return STAY;
}

}  // namespace simt
