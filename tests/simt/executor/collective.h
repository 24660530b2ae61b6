// Where the lanes of a warp meet.
#pragma once

#include "block.h"
#include "scheduler.h"

namespace simt {

[[noreturn]] void fail_outside_mask(const Lane& lane);

// A lane that finds others of its warp at another collective: an error, unless the two sets have no lane in common.
void meet_others(const Lane& lane);

// Notes what the lanes that are still at a collective, of another mask, came for.
void meet_rest(Warp& warp);

inline void complete(Warp& warp, const Operation& operation, uint32_t lanes) {
    operation.complete(warp, lanes);
    warp.at_collective &= ~lanes;
    if (warp.at_collective != 0) meet_rest(warp);
}

// A collective waits for the lanes of its mask that have not exited.
void complete_without_exited(Warp& warp);

// The running lane comes to a collective: waits, or does it if it is the last. Inlined, so that the operation is, too.
inline Switch meet(const Operation& operation, uint32_t mask, const void* code) {
    Lane& lane = *executor.current;
    Warp& warp = *lane.warp;
    lane.operation = &operation;
    lane.mask = mask;
    lane.code = code;
    if (warp.at_collective == 0) {
        warp.operation = &operation;
        warp.mask = mask;
    } else if (warp.operation != &operation || warp.mask != mask) {
        meet_others(lane);
    }
    if ((mask & lane.bit) == 0) fail_outside_mask(lane);
    warp.at_collective |= lane.bit;
    const uint32_t lanes = mask & warp.alive;
    if ((warp.at_collective & lanes) != lanes) return stop();
    complete(warp, operation, lanes);
    make_ready(warp, lanes & ~lane.bit);
    return STAY;
}

}  // namespace simt
