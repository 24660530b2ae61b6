// What the stand-in counts of a process's calls, of all threads and devices. The layout is C's: it exports this
// (simt_calls).
#pragma once

#include <cstdint>

extern "C" {

struct SimtCalls {
    // Images loaded.
    uint64_t modules;
    // Calls that launch a kernel, captured ones included.
    uint64_t launches;
    uint64_t graph_launches;
    // Copies from the host to a device and back.
    uint64_t uploads;
    uint64_t downloads;
    // Calls that waited for a device: for a stream, for an event that was not known to have passed, for a copy from or
    // to memory that is not pinned.
    uint64_t waits;
    // Frees that were refused, which a destructor tells nobody.
    uint64_t refused_frees;
};

}  // extern "C"

namespace driver {

extern SimtCalls calls;

}  // namespace driver
