// Accesses to anything but shared memory and the threads' own stacks.
#pragma once

#include "block.h"
#include "device_memory.h"
#include "shared_memory.h"

namespace simt {

// An access outside the device's memory: an error, unless the library's own data are meant.
void access_elsewhere(uintptr_t address, size_t bytes, Access access, const void* code);

[[noreturn]] void fail_unallocated(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code);

inline void check_global(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code) {
    const DeviceMemory& memory = *executor.memory;
    if (!memory.contains(address) || !memory.is_allocated(address, bytes)) {
        fail_unallocated(lane, address, bytes, access, code);
    }
    SimtReport& report = executor.report;
    (access == Access::READ ? report.global_bytes_read : report.global_bytes_written) += bytes;
}

}  // namespace simt
