// What a launch's checks found, and what it counted. The layout is C's: the stand-in exports it (simt_report).
#pragma once

#include <cstdint>

extern "C" {

enum SimtFinding {
    // Two threads access the same bytes of shared memory, one of them writes, and nothing orders them.
    SIMT_RACE,
    // A read of shared memory that nobody wrote.
    SIMT_UNINITIALISED,
    // An access to shared memory that a cp.async or TMA still writes to, or may still write to for all that the thread
    // has waited for.
    SIMT_IN_FLIGHT,
    // An access outside every allocation, the launch's shared memory or an array's bounds.
    SIMT_OUT_OF_BOUNDS,
    // An address that is no multiple of the access's size.
    SIMT_MISALIGNED,
    // A barrier that not all threads of the block reach.
    SIMT_BARRIER,
    // A collective that not all lanes of its mask reach.
    SIMT_COLLECTIVE,
    // More bank conflicts than SIMT_MAX_LDMATRIX_CONFLICT allows.
    SIMT_CONFLICT,
    // What C++ leaves undefined: a division by zero.
    SIMT_UNDEFINED,
    // An access to device memory that another stream may still have to write.
    SIMT_UNORDERED,
    // An mbarrier that is not initialised, or gets more arrivals or bytes than it expects.
    SIMT_MBARRIER,
    // Threads wait for mbarriers, named barriers or the others of their warpgroup, and nobody goes on.
    SIMT_DEADLOCK,
    // A tensor map that is none, or does not fit what TMA is asked for.
    SIMT_TENSOR_MAP,
    // A write to shared memory that TMA or wgmma may still read; an end before they are done.
    SIMT_PENDING,
    // Stores that the asynchronous proxy does not see for lack of a fence.
    SIMT_PROXY,
    // Accumulators used before their wgmma is done, or given to one without a fence; a wrong setmaxnreg.
    SIMT_REGISTERS,
    // Elements of global memory that two blocks or TMA stores write.
    SIMT_OVERLAP,
    SIMT_FINDINGS,
};

struct SimtReport {
    uint64_t findings[SIMT_FINDINGS];
    // 8×8 matrices that ldmatrix read, and the cycles that it took: as many where no banks conflict.
    uint64_t ldmatrix_matrices;
    uint64_t ldmatrix_cycles;
    uint64_t mma;
    // Of warpgroups.
    uint64_t wgmma;
    uint64_t barriers;
    // Bytes that the threads asked for, without coalescing or caches.
    uint64_t global_bytes_read;
    uint64_t global_bytes_written;
    // The first finding, in words.
    char message[1024];
};

}  // extern "C"
