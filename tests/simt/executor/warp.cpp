// Shuffles, votes and the barrier of a warp.
#include "../kernel/warp.h"

#include "clocks.h"
#include "collective.h"

namespace simt {
namespace {

// Read from a lane that takes no part, whose value CUDA leaves undefined: a number that stands out.
constexpr unsigned UNDEFINED = 0xffffffffu;

void shuffle_values(Warp& warp, uint32_t lanes) {
    unsigned results[WARP_SIZE];
    for (unsigned lane = 0; lane < WARP_SIZE; lane++) {
        const unsigned source = warp.sources[lane] % WARP_SIZE;
        results[lane] = lanes >> source & 1 ? warp.values[source] : UNDEFINED;
    }
    for (unsigned lane = 0; lane < WARP_SIZE; lane++) {
        if (lanes >> lane & 1) warp.values[lane] = results[lane];
    }
}

void count_votes(Warp& warp, uint32_t lanes) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < WARP_SIZE; lane++) votes |= (lanes >> lane & 1 & warp.values[lane]) << lane;
    for (unsigned lane = 0; lane < WARP_SIZE; lane++) {
        if (lanes >> lane & 1) warp.values[lane] = votes;
    }
}

// Orders memory if all lanes take part; what a barrier of some lanes orders is not tracked.
void sync_lanes(Warp& warp, uint32_t lanes) {
    if (lanes != warp.alive) return;
    warp.sync_time = ++executor.now;
    if (clocks.on()) clocks.merge_warp(warp);
}

constexpr Operation SHUFFLE = {"a shuffle", shuffle_values};
constexpr Operation BALLOT = {"a vote", count_votes};
constexpr Operation WARP_BARRIER = {"__syncwarp", sync_lanes};

}  // namespace

Switch come_to_shuffle(unsigned mask, unsigned value, unsigned source_lane) {
    const Lane& lane = *executor.current;
    lane.warp->values[lane.index] = value;
    lane.warp->sources[lane.index] = source_lane;
    return meet(SHUFFLE, mask, __builtin_return_address(0));
}

Switch come_to_ballot(unsigned mask, bool vote) {
    const Lane& lane = *executor.current;
    lane.warp->values[lane.index] = vote;
    return meet(BALLOT, mask, __builtin_return_address(0));
}

Switch come_to_warp_barrier(unsigned mask) { return meet(WARP_BARRIER, mask, __builtin_return_address(0)); }

unsigned take_value() { return executor.current->warp->values[executor.current->index]; }

}  // namespace simt
