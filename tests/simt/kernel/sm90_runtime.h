// What the executor does behind sm90.h: mbarriers, TMA and wgmma.
#pragma once

#include <cstdint>

#include "fiber_switch.h"
#include "ptx.h"
#include "qualifiers.h"

namespace simt {

// A box of a tensor: its map, and the coordinates of its first element.
struct Box {
    const void* map;
    unsigned rank;
    int at[3];
};

SIMT_RUNTIME void init_mbarrier(void* barrier, unsigned arrivals);
SIMT_RUNTIME void fence_mbarrier_init();
SIMT_RUNTIME void arrive(void* barrier, unsigned expected_bytes);
SIMT_RUNTIME Switch come_to_mbarrier(void* barrier, unsigned parity);

SIMT_RUNTIME void load_box(void* to, Box box, void* barrier);
SIMT_RUNTIME void store_box(Box box, const void* from, bool add);
SIMT_RUNTIME void commit_stores();
// Until at most so many groups of stores have not read their shared memory; the executor writes global memory then,
// too.
SIMT_RUNTIME void wait_for_stores(unsigned groups_under_way);
SIMT_RUNTIME void fence_proxy();

// As in ptx.h: a lane comes to a collective of its warp, or of its warpgroup.
SIMT_RUNTIME Switch come_to_store(void* row, Words4 words);
SIMT_RUNTIME Switch come_to_registers(unsigned count, bool increase);
SIMT_RUNTIME Switch come_to_named_barrier(int barrier, int threads);
SIMT_RUNTIME Switch come_to_wgmma_fence();
// `a` is a left operand in registers, of which descriptor_a then says nothing; or nullptr.
SIMT_RUNTIME Switch come_to_wgmma(float* sums, unsigned columns, const unsigned* a, uint64_t descriptor_a,
                                  uint64_t descriptor_b);
SIMT_RUNTIME Switch come_to_wgmma_commit();
SIMT_RUNTIME Switch come_to_wgmma_wait(unsigned groups_under_way);

}  // namespace simt
