// The stacks of the fibers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

// All lie in one range of addresses, each behind a page that traps.
class Stacks {
public:
    // The stack pointer of a fiber that will begin with entry().
    void* begin(unsigned fiber, void (*entry)());

    bool contains(uintptr_t address) const { return offset(address) < bytes_; }
    size_t offset(uintptr_t address) const { return address - reinterpret_cast<uintptr_t>(memory_); }
    size_t bytes() const { return bytes_; }

private:
    void reserve();

    unsigned char* memory_ = nullptr;
    size_t bytes_ = 0;
    unsigned guarded_ = 0;
};

extern Stacks stacks;

}  // namespace simt
