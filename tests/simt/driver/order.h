// Which work is known to be done before which. The stand-in does work when it is submitted; what a GPU could do later,
// while other streams and the host go on, is told by clocks: an access that nothing orders behind an earlier one fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "cuda.h"

namespace driver {

struct Device;

// How far streams have come, by their numbers: what is done before something.
using Clock = std::map<uint64_t, uint64_t>;

void merge(Clock& into, const Clock& from);

uint64_t new_stream_number();

// The next work of a stream, which is behind all that the host has waited for.
void begin_work(Stream& stream);

// The host has waited for all this. Downloads to pinned memory arrive; what was uploaded from there may be changed.
CUresult host_waits(const Clock& passed);
bool host_knows(const Clock& passed);

enum class Use {
    // Of a copy.
    READ,
    // Also an allocation's begin and its end.
    WRITE,
    // Of a kernel that has a pointer to it; what it then does is checked as it does it.
    LAUNCH,
};

// A stream's work uses the allocation that an address is in.
CUresult use(const Stream& stream, CUdeviceptr address, Use how);
void forget_uses(CUdeviceptr allocation);

// While it lives, memory that other streams may still be about to write counts as not there.
class Hidden {
public:
    Hidden(const Stream& stream, Device& device);
    Hidden(const Hidden&) = delete;
    ~Hidden();

private:
    Device& device_;
};

// The host's pinned memory.
void pin(const void* memory, size_t bytes);
bool is_pinned(CUdeviceptr address);
// False if it is none.
bool unpin(const void* memory, CUresult* result);

// A copy from pinned memory, which must stay as it is until the host knows that the copy is done.
CUresult upload_from_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes);
// A copy to pinned memory, which arrives when the host waits for it.
CUresult download_to_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes);

}  // namespace driver
