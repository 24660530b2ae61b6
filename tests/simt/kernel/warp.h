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

// Shuffles of 32-bit types within groups of `width` lanes; a lane whose source is outside its group reads itself.

template <typename T>
SIMT_INLINE T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
    const unsigned first = simt::lane_index() & ~(width - 1u);
    return simt::shuffle(mask, value, first | (lane & (width - 1u)));
}

// Unlike the others, this one may read from an earlier group, but not from a later one.
template <typename T>
SIMT_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
    const unsigned lane = simt::lane_index();
    const unsigned other = lane ^ lanes;
    return simt::shuffle(mask, value, other > (lane | (width - 1u)) ? lane : other);
}

template <typename T>
SIMT_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
    const unsigned lane = simt::lane_index();
    return simt::shuffle(mask, value, lane % width + lanes < unsigned(width) ? lane + lanes : lane);
}

template <typename T>
SIMT_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
    const unsigned lane = simt::lane_index();
    return simt::shuffle(mask, value, lane % width >= lanes ? lane - lanes : lane);
}

SIMT_INLINE unsigned __ballot_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0); }
SIMT_INLINE int __any_sync(unsigned mask, int vote) { return simt::ballot(mask, vote != 0) != 0; }
SIMT_INLINE int __all_sync(unsigned mask, int vote) { return simt::ballot(mask, vote == 0) == 0; }
SIMT_INLINE void __syncwarp(unsigned mask = 0xffffffffu) { simt::go(simt::come_to_warp_barrier(mask)); }
