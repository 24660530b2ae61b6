// wgmma: products of a warpgroup, four warps, that run while its threads go on.
//
// The four warps come to a product together; it is then pending, and carried out only when one of them waits for it, so
// that operands in shared memory and accumulators are used as late as the hardware may. A group is what a warp committed
// at once:
//
//   wgmma wgmma commit │ wgmma wgmma commit │ wait<1>        the first two are carried out, the others are pending
//
// Accumulators are local arrays on the threads' stacks, whose accesses the compiler reports, since the executor has their
// address (sanitizer.cpp): a thread may not touch those of a pending product, and a wgmma_fence must come between its
// writes to them and the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "block.h"
#include "shared_memory.h"

namespace simt {

class Wgmma {
public:
    void clear();
    void begin_block();

    // From the first wgmma_fence or product of a block on, accesses to the threads' stacks are looked at.
    bool watches_stacks() const { return watches_stacks_; }
    void use();
    void access_stack(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code);

    // An error if products are pending that the lane's warp did not wait for.
    void check_at_end(const Lane& lane);

    // "3 warps of warpgroup 0 wait at wgmma for its others"; empty if none waits.
    std::string waits() const;

private:
    bool watches_stacks_ = false;
};

extern Wgmma wgmma;

}  // namespace simt
