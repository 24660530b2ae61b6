#include "stacks.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "limits.h"

namespace simt {
namespace {

constexpr size_t PAGE = 4096;
constexpr size_t STACK = 128 * 1024;
constexpr size_t PITCH = STACK + PAGE;

// Without it, the used words of all stacks would share a few sets of the first-level cache.
size_t stagger(unsigned fiber) { return fiber % 32 * 320; }

}  // namespace

Stacks stacks;

void Stacks::reserve() {
    bytes_ = MAX_THREADS * PITCH;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("simt: stacks");
        abort();
    }
    memory_ = static_cast<unsigned char*>(memory);
}

// Makes the stack look as fiber_switch.h leaves that of a fiber that stopped.
void* Stacks::begin(unsigned fiber, void (*entry)()) {
    if (memory_ == nullptr) reserve();
    for (; guarded_ <= fiber; guarded_++) mprotect(memory_ + guarded_ * PITCH, PAGE, PROT_NONE);
    void** top = reinterpret_cast<void**>(memory_ + (fiber + 1) * PITCH - stagger(fiber));
#if defined(__x86_64__)
    // A dummy return address: the ABI wants a function's frame 8 bytes off a multiple of 16.
    top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(entry);
    return top - 2;
#else
    top[-4] = top[-3] = top[-1] = nullptr;
    top[-2] = reinterpret_cast<void*>(entry);
    return top - 4;
#endif
}

}  // namespace simt
