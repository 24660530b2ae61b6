// Atomic operations: fibers are not preempted, so that a plain read and write will do; among themselves they do not
// race.
#include <cstring>

#include "../kernel/memory.h"
#include "findings.h"
#include "global_access.h"
#include "shared_memory.h"

namespace simt {
namespace {

void check(uintptr_t address, const void* code) {
    const Lane& lane = *executor.current;
    if (address % 4 != 0) fail(SIMT_MISALIGNED, &lane, {code}, "updates %#zx, no multiple of 4", size_t(address));
    if (shared_memory.contains(address)) {
        shared_memory.access<4, Access::ATOMIC>(lane, address, code);
    } else {
        check_global(lane, address, 4, Access::READ, code);
        check_global(lane, address, 4, Access::WRITE, code);
    }
}

}  // namespace

float atomic_add(float* at, float x) {
    check(reinterpret_cast<uintptr_t>(at), __builtin_return_address(0));
    const float before = *at;
    *at = before + x;
    return before;
}

unsigned atomic_add(unsigned* at, unsigned x) {
    check(reinterpret_cast<uintptr_t>(at), __builtin_return_address(0));
    const unsigned before = *at;
    *at = before + x;
    return before;
}

}  // namespace simt
