// cp.async: a copy arrives when its thread waits for it. Until then its bytes are garbage, and nobody may touch them.
#include <cstring>

#include "../kernel/ptx.h"
#include "device_memory.h"
#include "findings.h"
#include "global_access.h"
#include "shared_memory.h"

namespace simt {
namespace {

constexpr unsigned BYTES = 16;

}  // namespace

void copy_async(void* to, const void* from, int bytes) {
    const void* const code = __builtin_return_address(0);
    Lane& lane = *executor.current;
    const auto target = reinterpret_cast<uintptr_t>(to);
    const auto source = reinterpret_cast<uintptr_t>(from);
    if (!shared_memory.contains(target)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "copies to %p, which is not shared memory", to);
    }
    if (target % BYTES != 0 || source % BYTES != 0) {
        fail(SIMT_MISALIGNED, &lane, {code}, "copies from %p to %p: no multiples of 16", from, to);
    }
    if (bytes < 0 || unsigned(bytes) > BYTES) fail(SIMT_UNDEFINED, &lane, {code}, "copies %d of 16 bytes", bytes);
    if (bytes > 0) check_global(lane, source, bytes, Access::READ, code);
    shared_memory.begin_copy(lane, target, code);
    memset(to, 0xff, BYTES);
    lane.copies.start({static_cast<unsigned char*>(to), static_cast<const unsigned char*>(from), unsigned(bytes)});
}

void commit_copies() { executor.current->copies.commit(); }

void wait_for_copies(unsigned groups_under_way) {
    Lane& lane = *executor.current;
    lane.copies.wait(groups_under_way, [&](const AsyncCopy& copy) {
        if (copy.bytes == BYTES) {
            memcpy(copy.to, copy.from, BYTES);
        } else {
            memset(copy.to, 0, BYTES);
            memcpy(copy.to, copy.from, copy.bytes);
        }
        shared_memory.end_copy(lane, reinterpret_cast<uintptr_t>(copy.to));
    });
}

}  // namespace simt
