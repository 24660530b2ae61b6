#include "global_access.h"

#include "../kernel/qualifiers.h"
#include "findings.h"

// The linker's: the begin and the end of this library.
extern "C" SIMT_RUNTIME const char __ehdr_start, _end;

namespace simt {
namespace {

const char* verb(Access access) { return access == Access::READ ? "reads" : "writes"; }

}  // namespace

void access_elsewhere(uintptr_t address, size_t bytes, Access access, const void* code) {
    // Before any kernel: the library is being loaded.
    if (executor.current == nullptr) return;
    // The library's constants.
    if (access == Access::READ && address >= reinterpret_cast<uintptr_t>(&__ehdr_start) &&
        address + bytes <= reinterpret_cast<uintptr_t>(&_end)) {
        return;
    }
    fail_unallocated(*executor.current, address, bytes, access, code);
}

void fail_unallocated(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code) {
    uintptr_t begin;
    size_t size;
    if (executor.memory->contains(address) && !executor.memory->find(address, &begin, &size)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "%s %zu bytes at %#zx, where nothing is allocated", verb(access), bytes,
             size_t(address));
    }
    if (!executor.memory->contains(address)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "%s %zu bytes at %#zx, which is not memory of this device",
             verb(access), bytes, size_t(address));
    }
    if (executor.memory->is_hidden(begin)) {
        fail(SIMT_UNORDERED, &lane, {code}, "%s memory that another stream may not have written yet", verb(access));
    }
    fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "%s %zu bytes at %zu of an allocation of %zu, or at %#zx of none",
         verb(access), bytes, size_t(address - begin), size, size_t(address));
}

}  // namespace simt
