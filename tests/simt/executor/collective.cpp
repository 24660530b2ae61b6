#include "collective.h"

#include "findings.h"

namespace simt {

void fail_outside_mask(const Lane& lane) {
    fail(SIMT_COLLECTIVE, &lane, {lane.code}, "is not in its own mask 0x%08x of %s", lane.mask, lane.operation->name);
}

void meet_others(const Lane& lane) {
    for (uint32_t rest = lane.warp->at_collective; rest != 0; rest &= rest - 1) {
        const Lane& other = lane.warp->lanes[__builtin_ctz(rest)];
        if ((other.mask & lane.mask) == 0 || (other.operation == lane.operation && other.mask == lane.mask)) continue;
        fail(SIMT_COLLECTIVE, &lane, {lane.code},
             "comes to %s (mask 0x%08x) where lane %u of its warp waits at %s (mask 0x%08x)", lane.operation->name,
             lane.mask, other.index, other.operation->name, other.mask);
    }
}

void require_all(const Warp& warp, uint32_t lanes) {
    if (lanes == ALL_LANES) return;
    const Lane& lane = warp.lanes[__builtin_ctz(lanes)];
    fail(SIMT_COLLECTIVE, &lane, {lane.code}, "does %s with the lanes 0x%08x only", warp.operation->name, lanes);
}

void meet_rest(Warp& warp) {
    const Lane& first = warp.lanes[__builtin_ctz(warp.at_collective)];
    warp.operation = first.operation;
    warp.mask = first.mask;
}

void complete_without_exited(Warp& warp) {
    uint32_t rest = warp.at_collective;
    while (rest != 0) {
        const Lane& lane = warp.lanes[__builtin_ctz(rest)];
        const uint32_t lanes = lane.mask & warp.alive;
        rest &= ~lanes;
        if ((warp.at_collective & lanes) != lanes) continue;
        complete(warp, *lane.operation, lanes);
        make_ready(warp, lanes);
    }
}

}  // namespace simt
