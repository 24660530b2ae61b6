// Shuffles, votes and the barrier of a warp.
#pragma once

#include "arithmetic.h"
#include "fiber_switch.h"
#include "qualifiers.h"

namespace simt {

SIMT_RUNTIME unsigned lane_index() __attribute__((const));

// A lane comes to a collective, waits for the others, and takes its result.
SIMT_RUNTIME Switch come_to_shuffle(unsigned mask, unsigned value, unsigned source_lane);
SIMT_RUNTIME Switch come_to_ballot(unsigned mask, bool vote);
SIMT_RUNTIME unsigned take_value();
SIMT_RUNTIME Switch come_to_warp_barrier(unsigned mask);

// The lane that a shuffle among groups of `width` lanes reads: its own where the group does not have the other.
SIMT_INLINE unsigned lane_of_group(unsigned other, int width) {
    const unsigned lane = lane_index();
    return (other & ~(width - 1u)) == (lane & ~(width - 1u)) ? other : lane;
}

template <typename T>
SIMT_INLINE T shuffle(unsigned mask, T value, unsigned source_lane) {
    go(come_to_shuffle(mask, bits_as<unsigned>(value), source_lane));
    return bits_as<T>(take_value());
}

SIMT_INLINE unsigned ballot(unsigned mask, bool vote) {
    go(come_to_ballot(mask, vote));
    return take_value();
}

}  // namespace simt

#define SIMT_SHUFFLES(T)                                                                                          \
    SIMT_INLINE T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {                                 \
        const unsigned group = simt::lane_index() & ~(width - 1u);                                                \
        return simt::shuffle(mask, value, group | (lane & (width - 1u)));                                    \
    }                                                                                                             \
    SIMT_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {                            \
        return simt::shuffle(mask, value, simt::lane_of_group(simt::lane_index() ^ lanes, width));           \
    }                                                                                                             \
    SIMT_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {                      \
        return simt::shuffle(mask, value, simt::lane_of_group(simt::lane_index() + lanes, width));           \
    }                                                                                                             \
    SIMT_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {                        \
        return simt::shuffle(mask, value, simt::lane_of_group(simt::lane_index() - lanes, width));           \
    }

SIMT_SHUFFLES(float)
SIMT_SHUFFLES(int)
SIMT_SHUFFLES(unsigned)

SIMT_INLINE unsigned __ballot_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0); }
SIMT_INLINE int __any_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0) != 0; }
SIMT_INLINE int __all_sync(unsigned mask, int vote) { return simt::ballot(mask, vote == 0) == 0; }
SIMT_INLINE void __syncwarp(unsigned mask = 0xffffffffu) { simt::go(simt::come_to_warp_barrier(mask)); }
