// Finds missing synchronisation between streams, and between them and the host. The stand-in does work when it is
// submitted; what a GPU could do later, while other streams and the host go on, is told by vector clocks: an access
// that nothing orders behind an earlier one fails.
//
//   stream 1   writes A              A: written {1: 1}
//   stream 1   records event E       E: passed {1: 1}
//   stream 2   waits for E, reads A  its clock covers {1: 1}: fine
//   stream 3   reads A               its clock does not: an error
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "cuda.h"

namespace driver {

struct Device;

// A vector clock: by stream number, how much of that stream's work is done.
using Clock = std::map<uint64_t, uint64_t>;

void merge(Clock& into, const Clock& from);

uint64_t new_stream_number();

// Begins the next work of a stream, which is behind all that the host has waited for.
void begin_work(Stream& stream);

// The host has waited for `passed`: downloads to pinned memory arrive, and what was uploaded from there may be changed.
CUresult host_waits(const Clock& passed);
bool host_knows(const Clock& passed);

enum class Use {
    // A copy reads.
    READ,
    // A copy or fill writes, or the allocation begins or ends.
    WRITE,
    // A kernel is given a pointer to it; its accesses are checked as it runs.
    LAUNCH,
};

// Checks and notes that a stream's work uses the allocation that an address is in.
CUresult use(const Stream& stream, CUdeviceptr address, Use how);
void forget_uses(CUdeviceptr allocation);

// While it lives, memory that other streams may still have to write counts as not allocated.
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
// False if it is not pinned.
bool unpin(const void* memory, CUresult* result);

// A copy from pinned memory, which must stay as it is until the host knows that the copy is done.
CUresult upload_from_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes);
// A copy to pinned memory, which arrives when the host waits for it.
CUresult download_to_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes);

}  // namespace driver
