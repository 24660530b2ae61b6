// The memory of a device: allocations in a range of addresses, with gaps between, against which accesses are checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>

namespace simt {

class DeviceMemory {
public:
    explicit DeviceMemory(size_t bytes);
    DeviceMemory(const DeviceMemory&) = delete;

    // The address; 0 if there is not enough left.
    uintptr_t allocate(size_t bytes);
    // False if it was no allocation. Freed addresses are not used again for long.
    bool free(uintptr_t address);

    size_t total() const { return total_; }
    size_t left() const { return left_; }

    // Whether the address is in the device's range, allocated or not.
    bool contains(uintptr_t address) const { return address - begin_ < bytes_; }

    // Whether an access, which must begin in the range, is within an allocation.
    bool is_allocated(uintptr_t address, size_t bytes) const {
        const size_t offset = address - begin_;
        return offset % GRANULE + bytes <= allocated_[offset / GRANULE] || is_allocated_slowly(offset, bytes);
    }

    // An allocation counts as not there for the running kernel, until show_all().
    void hide(uintptr_t allocation);
    void show_all();
    bool is_hidden(uintptr_t allocation) const { return hidden_.count(allocation - begin_) != 0; }

    // The allocation that an address is in or behind: its begin and size; false if there is none.
    bool find(uintptr_t address, uintptr_t* begin, size_t* bytes) const;

    // A word for each two bytes of the range, 0 at first, for who wrote them (global_writes.h).
    uint32_t& mark_of_pair(uintptr_t address);

private:
    // CUDA's alignment of allocations.
    static constexpr size_t GRANULE = 256;

    bool is_allocated_slowly(size_t offset, size_t bytes) const;
    void mark(size_t offset, size_t bytes, bool allocated);

    uintptr_t begin_;
    size_t bytes_;
    size_t total_;
    size_t left_;
    // Where the search for the next free range begins.
    size_t next_ = 0;
    // How many bytes of each granule are allocated.
    uint16_t* allocated_;
    uint32_t* marks_ = nullptr;
    // Offset and size of each allocation.
    std::map<size_t, size_t> allocations_;
    // Offsets of the hidden allocations.
    std::set<size_t> hidden_;
};

}  // namespace simt
