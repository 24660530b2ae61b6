// Which lane runs next.
#pragma once

#include "../kernel/fiber_switch.h"
#include "block.h"

namespace simt {

inline void make_ready(Warp& warp, uint32_t lanes) {
    warp.ready |= lanes;
    executor.ready_warps |= 1u << warp.index;
}

// Picks a ready lane as the order says, of this warp first; that there is none is a deadlock, which fails the launch.
Lane& choose_lane(Warp& warp);

// Suspends the running lane until another one makes it ready.
inline Switch stop() {
    Lane& from = *executor.current;
    Warp& warp = *from.warp;
    Lane* to;
    // Stays with a warp for as long as it can, since its stacks are in the cache; random order leaves it now and then.
    if (warp.ready != 0 && executor.order != Order::RANDOM) {
        to = &warp.lanes[executor.order == Order::FORWARD ? __builtin_ctz(warp.ready) : 31 - __builtin_clz(warp.ready)];
        warp.ready &= ~to->bit;
    } else {
        to = &choose_lane(warp);
    }
    executor.current = to;
    return to == &from ? STAY : Switch{&from.stack_pointer, to->stack_pointer};
}

// From a sequence that a launch begins.
uint32_t random_number();

// Abandons the launch, wherever its lanes are.
[[noreturn]] void give_up();

// Runs all threads of a block; false if the launch was given up.
bool run_block();

}  // namespace simt
