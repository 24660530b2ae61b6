// What g++ calls for each access of a kernel (-fsanitize=thread) and where a kernel does what C++ leaves undefined
// (-fsanitize=alignment,bounds,integer-divide-by-zero). The sanitizers' own libraries are not linked.
//
// Alignment is checked at the source's accesses, since the compiler may split them before the callbacks.
#include "findings.h"
#include "global_access.h"
#include "global_writes.h"
#include "shared_memory.h"
#include "stacks.h"
#include "wgmma.h"

namespace simt {
namespace {

template <Access ACCESS>
inline void access_global(uintptr_t address, size_t bytes, const void* code) {
    if (executor.memory != nullptr && executor.memory->contains(address)) {
        check_global(*executor.current, address, bytes, ACCESS, code);
        if (ACCESS == Access::WRITE) global_writes.store(*executor.current, address, bytes, code);
    } else if (!stacks.contains(address)) {
        access_elsewhere(address, bytes, ACCESS, code);
    } else if (wgmma.watches_stacks() && executor.current != nullptr) {
        wgmma.access_stack(*executor.current, address, bytes, ACCESS, code);
    }
}

// Of accesses to the threads' own stacks only those to accumulators of wgmma are checked.
template <unsigned BYTES, Access ACCESS>
inline void access(void* at, const void* code) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    if (!shared_memory.contains(address)) {
        access_global<ACCESS>(address, BYTES, code);
    } else if (executor.current != nullptr) {
        if (address % BYTES == 0) {
            shared_memory.access<BYTES, ACCESS>(*executor.current, address, code);
        } else {
            shared_memory.access(*executor.current, address, BYTES, ACCESS, code);
        }
    }
}

template <Access ACCESS>
void access_range(const void* at, size_t bytes, const void* code) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    if (bytes == 0) return;
    if (!shared_memory.contains(address)) {
        access_global<ACCESS>(address, bytes, code);
    } else if (executor.current != nullptr) {
        shared_memory.access(*executor.current, address, bytes, ACCESS, code);
    }
}

struct SourceLocation {
    const char* file;
    unsigned line;
    unsigned column;
};

struct TypeMismatch {
    SourceLocation location;
    const void* type;
    unsigned char log_alignment;
    unsigned char kind;
};

Place place(const SourceLocation& location) { return {nullptr, location.file, location.line}; }

}  // namespace
}  // namespace simt

using simt::Access;

#define CALLBACKS(bytes)                                                                                        \
    void __tsan_read##bytes(void* at) { simt::access<bytes, Access::READ>(at, __builtin_return_address(0)); }   \
    void __tsan_write##bytes(void* at) { simt::access<bytes, Access::WRITE>(at, __builtin_return_address(0)); } \
    void __tsan_unaligned_read##bytes(void* at) {                                                               \
        simt::access<bytes, Access::READ>(at, __builtin_return_address(0));                                     \
    }                                                                                                           \
    void __tsan_unaligned_write##bytes(void* at) {                                                              \
        simt::access<bytes, Access::WRITE>(at, __builtin_return_address(0));                                    \
    }

extern "C" {

CALLBACKS(1)
CALLBACKS(2)
CALLBACKS(4)
CALLBACKS(8)
CALLBACKS(16)

void __tsan_read_range(void* at, size_t bytes) {
    simt::access_range<Access::READ>(at, bytes, __builtin_return_address(0));
}
void __tsan_write_range(void* at, size_t bytes) {
    simt::access_range<Access::WRITE>(at, bytes, __builtin_return_address(0));
}

// Newer compilers call these instead of the C library's functions.
void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
    simt::access_range<Access::READ>(from, bytes, __builtin_return_address(0));
    simt::access_range<Access::WRITE>(to, bytes, __builtin_return_address(0));
    return __builtin_memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
    simt::access_range<Access::READ>(from, bytes, __builtin_return_address(0));
    simt::access_range<Access::WRITE>(to, bytes, __builtin_return_address(0));
    return __builtin_memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
    simt::access_range<Access::WRITE>(to, bytes, __builtin_return_address(0));
    return __builtin_memset(to, value, bytes);
}

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}

void __ubsan_handle_type_mismatch_v1(simt::TypeMismatch* mismatch, uintptr_t address) {
    simt::fail(SIMT_MISALIGNED, simt::executor.current, simt::place(mismatch->location),
               "accesses %#zx, no multiple of %u", size_t(address), 1u << mismatch->log_alignment);
}

void __ubsan_handle_out_of_bounds(simt::SourceLocation* location, uintptr_t index) {
    simt::fail(SIMT_OUT_OF_BOUNDS, simt::executor.current, simt::place(*location), "uses index %zd of an array",
               ptrdiff_t(index));
}

void __ubsan_handle_divrem_overflow(simt::SourceLocation* location, uintptr_t, uintptr_t) {
    simt::fail(SIMT_UNDEFINED, simt::executor.current, simt::place(*location), "divides by zero");
}

}  // extern "C"
