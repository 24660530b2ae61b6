// Bugs of ring_product, one at a time as an argument. self_test.cpp says which check must find each.
#pragma once

enum Bug {
    NO_BUG,
    // mbarriers.
    NO_INIT_FENCE,
    NO_BARRIER_AFTER_INIT,
    UNINITIALISED_MBARRIER,
    TOO_FEW_BYTES_EXPECTED,
    TOO_MANY_BYTES_EXPECTED,
    TOO_MANY_ARRIVALS_NEEDED,
    TOO_FEW_ARRIVALS_NEEDED,
    NO_WAIT_FOR_FULL,
    WRONG_PARITY_OF_FULL,
    NO_WAIT_FOR_EMPTY,
    // wgmma.
    SLAB_GIVEN_BACK_EARLY,
    SUMS_READ_EARLY,
    NO_WGMMA_FENCE,
    NO_WGMMA_WAIT,
    WARP_WITHOUT_WGMMA,
    DIFFERENT_OPERANDS,
    MISALIGNED_SLAB,
    SLAB_OUTSIDE,
    WRITE_TO_SLAB,
    TOO_MANY_REGISTERS,
    REGISTERS_OF_A_WARP,
    // Stores.
    NO_PROXY_FENCE,
    NO_SYNC_BEFORE_STORE,
    NO_WAIT_FOR_READ,
    NO_WAIT_AT_END,
    OVERLAPPING_STORES,
    MISALIGNED_STAGING,
    // Named barriers.
    NAMED_BARRIER_OF_TOO_MANY,
    NO_NAMED_BARRIER,
    // Found by the result alone.
    NO_SWIZZLE_OF_STAGING,
    BUGS,
};
