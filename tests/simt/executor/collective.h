// Collectives: where the lanes of a warp wait for each other.
#pragma once

#include "block.h"
#include "scheduler.h"

namespace simt {

[[noreturn]] void fail_outside_mask(const Lane& lane);

// The lane comes while others of its warp wait at another collective: an error, unless the masks are disjoint.
void meet_others(const Lane& lane);

// Sets the warp's operation and mask to those of the lanes that still wait, with another mask.
void meet_rest(Warp& warp);

inline void complete(Warp& warp, const Operation& operation, uint32_t lanes) {
    operation.complete(warp, lanes);
    warp.at_collective &= ~lanes;
    if (warp.at_collective != 0) meet_rest(warp);
}

// After a lane has exited: completes the collectives whose other lanes are all there.
void complete_without_exited(Warp& warp);

// The running lane comes to a collective. The lanes that take part if it is the last of them, 0 otherwise.
inline uint32_t arrive(const Operation& operation, uint32_t mask, const void* code) {
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
    return (warp.at_collective & lanes) == lanes ? lanes : 0;
}

// The running lane comes to a collective: it waits, or completes it if it is the last. Inlined, so that the operation
// is inlined, too.
inline Switch meet(const Operation& operation, uint32_t mask, const void* code) {
    const Lane& lane = *executor.current;
    const uint32_t lanes = arrive(operation, mask, code);
    if (lanes == 0) return stop();
    complete(*lane.warp, operation, lanes);
    make_ready(*lane.warp, lanes & ~lane.bit);
    return STAY;
}

// For what a whole warp must do: an error if some of its lanes have exited.
void require_all(const Warp& warp, uint32_t lanes);

}  // namespace simt
