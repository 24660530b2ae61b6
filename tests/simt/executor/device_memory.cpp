#include "device_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace simt {
namespace {

constexpr size_t PAGE = 4096;
// The gap between allocations, and before the first.
constexpr size_t GUARD = PAGE;
// Addresses for each byte of memory, so that freed ones are not soon used again.
constexpr size_t SPARE = 8;
// Fills fresh allocations: NaN in f32, f16 and bf16.
constexpr int GARBAGE = 0xff;

void* reserve(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("simt: memory of the device");
        abort();
    }
    return memory;
}

size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

}  // namespace

DeviceMemory::DeviceMemory(size_t bytes) : total_(bytes), left_(bytes) {
    bytes_ = round_up(bytes, PAGE) * SPARE + (64 << 20);
    begin_ = reinterpret_cast<uintptr_t>(reserve(bytes_));
    allocated_ = static_cast<uint16_t*>(reserve((bytes_ / GRANULE + 1) * sizeof *allocated_));
}

void DeviceMemory::mark(size_t offset, size_t bytes, bool allocated) {
    const size_t whole = bytes / GRANULE;
    uint16_t* const first = allocated_ + offset / GRANULE;
    std::fill(first, first + whole, allocated ? GRANULE : 0);
    if (bytes % GRANULE != 0) first[whole] = allocated ? bytes % GRANULE : 0;
}

uintptr_t DeviceMemory::allocate(size_t bytes) {
    const size_t taken = round_up(bytes, GRANULE);
    if (bytes == 0 || taken > left_) return 0;
    const size_t room = round_up(taken, PAGE) + GUARD;
    // From where the last search ended, then from the begin.
    for (size_t start : {next_, size_t(0)}) {
        size_t at = start + GUARD;
        auto after = allocations_.lower_bound(start);
        while (after != allocations_.end() && at + room > after->first) {
            at = round_up(after->first + after->second, PAGE) + GUARD;
            ++after;
        }
        if (at + room > bytes_) continue;
        allocations_.emplace_hint(after, at, bytes);
        left_ -= taken;
        next_ = at + room - GUARD;
        mark(at, bytes, true);
        memset(reinterpret_cast<void*>(begin_ + at), GARBAGE, bytes);
        return begin_ + at;
    }
    return 0;
}

bool DeviceMemory::free(uintptr_t address) {
    const auto at = allocations_.find(address - begin_);
    if (!contains(address) || at == allocations_.end()) return false;
    mark(at->first, at->second, false);
    madvise(reinterpret_cast<void*>(address), round_up(at->second, PAGE), MADV_DONTNEED);
    left_ += round_up(at->second, GRANULE);
    allocations_.erase(at);
    return true;
}

bool DeviceMemory::is_allocated_slowly(size_t offset, size_t bytes) const {
    const auto after = allocations_.upper_bound(offset);
    if (after == allocations_.begin()) return false;
    const auto& [begin, size] = *std::prev(after);
    return offset - begin <= size && bytes <= size - (offset - begin) && hidden_.count(begin) == 0;
}

void DeviceMemory::hide(uintptr_t allocation) {
    const auto at = allocations_.find(allocation - begin_);
    if (at == allocations_.end()) return;
    mark(at->first, at->second, false);
    hidden_.insert(at->first);
}

void DeviceMemory::show_all() {
    for (const size_t offset : hidden_) mark(offset, allocations_.at(offset), true);
    hidden_.clear();
}

bool DeviceMemory::find(uintptr_t address, uintptr_t* begin, size_t* bytes) const {
    const auto after = allocations_.upper_bound(address - begin_);
    if (!contains(address) || after == allocations_.begin()) return false;
    const auto& [offset, size] = *std::prev(after);
    *begin = begin_ + offset;
    *bytes = size;
    return true;
}

uint32_t& DeviceMemory::mark_of_pair(uintptr_t address) {
    if (marks_ == nullptr) marks_ = static_cast<uint32_t*>(reserve((bytes_ / 2 + 1) * sizeof *marks_));
    return marks_[(address - begin_) / 2];
}

}  // namespace simt
