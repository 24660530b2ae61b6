// wgmma: products of a warpgroup, four warps, that run while its threads go on.
//
// The four warps come to a product together; it is then pending, and carried out only when one of them waits for it, so
// that operands in shared memory and accumulators are used as late as the hardware may. A group is what a warp
// committed at once:
//
//   wgmma wgmma commit │ wgmma wgmma commit │ wait<1>        the first two are carried out, the others are pending
//
// Accumulators are local arrays on the threads' stacks, whose accesses the compiler reports, since the executor has
// their address (sanitizer.cpp): a thread may not touch those of a pending product, and a wgmma_fence must come between
// its writes to them and the product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "block.h"
#include "shared_memory.h"
#include "stacks.h"
#include "who.h"

namespace simt {

class Wgmma {
public:
    void clear();
    void begin_block();

    // From the first wgmma_fence or product of a block on, accesses to the threads' stacks are looked at.
    bool watches_stacks() const { return watches_stacks_; }
    void use();
    void access_stack(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code) {
        if (access == Access::WRITE) {
            const size_t last = stacks.offset(address + bytes - 1) / 4;
            for (size_t word = stacks.offset(address) / 4; word <= last; word++) stack_times_[word] = executor.now;
            last_write_[index_of(lane.who)] = executor.now;
        }
        if (lane.warp->pending_products > 0) check_accumulators(lane, address, bytes, access, code);
    }

    // Whether the lane has not written to registers since the last fence of its warp.
    bool is_fenced(const Lane& lane, const void* registers, size_t bytes) const;

    // An error if products are pending that the lane's warp did not wait for.
    void check_at_end(const Lane& lane);

    // "3 warps of warpgroup 0 wait at wgmma for its others"; empty if none waits.
    std::string waits() const;

private:
    void check_accumulators(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code);

    bool watches_stacks_ = false;
    // By word of the stacks, when it was last written to; and by thread.
    uint32_t* stack_times_ = nullptr;
    uint32_t last_write_[MAX_THREADS] = {};
};

extern Wgmma wgmma;

}  // namespace simt
