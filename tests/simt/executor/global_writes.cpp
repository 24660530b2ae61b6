#include "global_writes.h"

#include "device_memory.h"
#include "findings.h"
#include "launch.h"

namespace simt {

GlobalWrites global_writes;

void GlobalWrites::begin_launch() {
    on_ = false;
    const Kernel& kernel = *executor.launch->kernel;
    for (size_t i = 0; i < kernel.parameter_count; i++) {
        on_ |= kernel.parameters[i].is_tensor_map();
    }
    first_block_ = block_ + 1;
}

void GlobalWrites::note(const Lane& lane, uintptr_t address, size_t bytes, uint32_t how, const void* code) {
    for (uintptr_t at = address / GRANULE * GRANULE; at < address + bytes; at += GRANULE) {
        uint32_t& mark = executor.memory->mark_of_pair(at);
        const uint32_t other = mark;
        mark = block_ * BLOCK | how;
        if (other / BLOCK < first_block_) continue;
        if ((other & how & ADDITION) != 0) continue;
        const bool any_transfer = ((other | how) & TRANSFER) != 0;
        if (other / BLOCK == block_ && !any_transfer) continue;
        if (count(SIMT_OVERLAP)) {
            uintptr_t allocation = at;
            size_t size = 0;
            executor.memory->find(at, &allocation, &size);
            describe(SIMT_OVERLAP, &lane, {code},
                     "%s byte %zu of an allocation of %zu, which %s %s already in this launch",
                     how & ADDITION ? "adds to" : "writes", size_t(at - allocation), size,
                     other / BLOCK == block_ ? "this block" : "another block", other & ADDITION ? "added to" : "wrote");
        }
        return;
    }
}

}  // namespace simt
