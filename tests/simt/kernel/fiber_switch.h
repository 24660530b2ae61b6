// Switches fibers: one thread stops and another goes on.
//
// A function of the executor decides which (Switch); the switch itself is inlined into the kernel. Done within a
// function, it would return to another thread's caller, and the processor would mispredict each such return.
#pragma once

#include "qualifiers.h"

namespace simt {

struct Switch {
    // Where to keep the stack pointer of the thread that stops, and that of the one that goes on; nullptr: none stops.
    void** from;
    void* to;
};

constexpr Switch STAY = {nullptr, nullptr};

#if defined(__x86_64__)

// Pushes the frame pointer and the address to go on at; g++ saves what else it needs, as all other registers are
// clobbered. Needs -mno-red-zone and -mno-avx512f.
SIMT_INLINE void go(Switch which) {
    if (which.to == nullptr) return;
    asm volatile("pushq %%rbp\n\t"
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "movq %%rsp, (%0)\n\t"
                 "movq %1, %%rsp\n\t"
                 "popq %%rax\n\t"
                 "jmp *%%rax\n"
                 "1:\n\t"
                 "popq %%rbp"
                 : "+D"(which.from), "+S"(which.to)
                 :
                 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
                   "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                   "xmm14", "xmm15", "memory", "cc");
}

#elif defined(__aarch64__)

// As above; x29 and x30 are pushed since g++ does not save them for a clobber.
SIMT_INLINE void go(Switch which) {
    if (which.to == nullptr) return;
    register void** from asm("x0") = which.from;
    register void* to asm("x1") = which.to;
    asm volatile("adr x9, 1f\n\t"
                 "stp x29, x30, [sp, #-32]!\n\t"
                 "str x9, [sp, #16]\n\t"
                 "mov x10, sp\n\t"
                 "str x10, [x0]\n\t"
                 "mov sp, x1\n\t"
                 "ldr x9, [sp, #16]\n\t"
                 "ldp x29, x30, [sp], #32\n\t"
                 "br x9\n"
                 "1:"
                 : "+r"(from), "+r"(to)
                 :
                 : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
                   "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "v0", "v1", "v2",
                   "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                   "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31",
                   "memory", "cc");
}

#else
#error "no context switch for this processor"
#endif

}  // namespace simt
