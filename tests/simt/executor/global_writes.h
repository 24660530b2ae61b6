// Who wrote which bytes of global memory in this launch: TMA stores that overlap with each other, or with the stores of
// another block, have no order. Kept in launches whose kernel has a tensor map as a parameter.
//
// Two bytes have a mark: the number of the block that wrote them, counted over all launches, so that marks of earlier
// launches are known by being smaller than the launch's first and nothing is cleared; and how it wrote.
#pragma once

#include <cstddef>
#include <cstdint>

#include "block.h"

namespace simt {

class GlobalWrites {
public:
    void begin_launch();
    void begin_block() { block_++; }

    bool on() const { return on_; }

    // An ordinary store of a thread, and a store or an addition by TMA.
    void store(const Lane& lane, uintptr_t address, size_t bytes, const void* code) {
        if (on_) note(lane, address, bytes, 0, code);
    }
    void transfer(const Lane& lane, uintptr_t address, size_t bytes, bool add, const void* code) {
        if (on_) note(lane, address, bytes, add ? TRANSFER | ADDITION : TRANSFER, code);
    }

private:
    static constexpr size_t GRANULE = 2;
    static constexpr uint32_t TRANSFER = 1, ADDITION = 2, BLOCK = 4;

    void note(const Lane& lane, uintptr_t address, size_t bytes, uint32_t how, const void* code);

    bool on_ = false;
    uint32_t block_ = 0;
    uint32_t first_block_ = 0;
};

extern GlobalWrites global_writes;

}  // namespace simt
