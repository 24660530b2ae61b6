#include "shared_memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../kernel/qualifiers.h"
#include "findings.h"

// The statics of the kernels and the dynamic memory, which the build script moved to this section.
extern "C" SIMT_RUNTIME unsigned char __start_simt_shared[];
extern "C" SIMT_RUNTIME unsigned char __stop_simt_shared[];

namespace simt {
namespace {

// What nobody wrote: not a number in f32, f16 and bf16, and no index that would be inside.
constexpr int GARBAGE = 0xff;

// Where an address is, as messages say it.
Words name_of_place(uintptr_t address) {
    Words words;
    const auto dynamic = reinterpret_cast<uintptr_t>(dynamic_shared);
    if (address - dynamic < SHARED_BYTES_OPT_IN) {
        snprintf(words.text, sizeof words.text, "byte %zu of dynamic shared memory", size_t(address - dynamic));
    } else {
        const auto begin = reinterpret_cast<uintptr_t>(__start_simt_shared);
        snprintf(words.text, sizeof words.text, "byte %zu of all static shared memory", size_t(address - begin));
    }
    return words;
}

const char* verb(Access access) {
    return access == Access::READ ? "reads" : access == Access::WRITE ? "writes" : "updates";
}

}  // namespace

SharedMemory shared_memory;

SharedMemory::SharedMemory() {
    begin_ = reinterpret_cast<uintptr_t>(__start_simt_shared) / LINE * LINE;
    bytes_ = reinterpret_cast<uintptr_t>(__stop_simt_shared) - begin_;
    shadow_bytes_ = (bytes_ / LINE + 1) * sizeof(Line);
    void* lines = mmap(nullptr, shadow_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED) {
        perror("simt: shadow of shared memory");
        abort();
    }
    lines_ = static_cast<Line*>(lines);
}

void SharedMemory::begin_launch() {
    // Before the counter runs over, all begins anew.
    if (executor.now < 1u << 31) return;
    memset(lines_, 0, shadow_bytes_);
    executor.now = 1;
}

void SharedMemory::begin_block(uint32_t now, size_t dynamic_bytes) {
    block_ = now;
    dynamic_bytes_ = dynamic_bytes;
}

void SharedMemory::begin_line(size_t index) {
    Line& line = lines_[index];
    line.block = block_;
    line.step = LINE;
    line.cells[0] = {};
    const uintptr_t address = begin_ + index * LINE;
    const size_t offset = address - reinterpret_cast<uintptr_t>(dynamic_shared);
    if (offset < SHARED_BYTES_OPT_IN && offset + LINE > dynamic_bytes_) {
        line.step = 1;
        for (size_t i = 0; i < LINE; i++) {
            line.cells[i] = {};
            if (offset + i >= dynamic_bytes_) line.cells[i].writer = OUTSIDE;
        }
    }
    memset(reinterpret_cast<void*>(address), GARBAGE, LINE);
}

void SharedMemory::refine(Line& line, unsigned step) {
    for (unsigned i = 0; i < LINE; i += step) line.cells[i] = line.cells[i / line.step * line.step];
    line.step = step;
}

void SharedMemory::access(const Lane& lane, uintptr_t address, size_t bytes, Access kind, const void* code) {
    if (bytes > bytes_ - (address - begin_)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "%s %zu bytes at the end of shared memory", verb(kind), bytes);
    }
    for (const uintptr_t end = address + bytes; address < end; address++) {
        switch (kind) {
            case Access::READ: access<1, Access::READ>(lane, address, code); break;
            case Access::WRITE: access<1, Access::WRITE>(lane, address, code); break;
            case Access::ATOMIC: access<1, Access::ATOMIC>(lane, address, code); break;
        }
    }
}

void SharedMemory::begin_copy(const Lane& lane, uintptr_t address, const void* code) {
    access<LINE, Access::WRITE>(lane, address, code);
    lines_[(address - begin_) / LINE].cells[0].writer |= IN_FLIGHT;
}

void SharedMemory::end_copy(const Lane& lane, uintptr_t address) {
    Line& line = lines_[(address - begin_) / LINE];
    line.step = LINE;
    line.cells[0] = {executor.now, 0, lane.who, 0};
}

void SharedMemory::find(const Cell& cell, const Lane& lane, Access access, uintptr_t address, const void* code) {
    const Words place = name_of_place(address);
    const Words writer = name_of_threads(cell.writer & THREADS);
    if (cell.writer & OUTSIDE) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "%s %s; the launch gives %zu", verb(access), place.text, dynamic_bytes_);
    } else if (cell.writer & IN_FLIGHT) {
        note(SIMT_IN_FLIGHT, &lane, {code}, "%s %s, to which a copy of %s is under way", verb(access), place.text,
             writer.text);
    } else if (!is_before(cell.write_time, cell.writer, lane)) {
        note(SIMT_RACE, &lane, {code}, "%s %s, which %s wrote, without a barrier between", verb(access), place.text,
             writer.text);
    } else if (access != Access::WRITE && cell.write_time == 0) {
        note(SIMT_UNINITIALISED, &lane, {code}, "%s %s, which nobody wrote", verb(access), place.text);
    } else {
        note(SIMT_RACE, &lane, {code}, "%s %s, which %s read, without a barrier between", verb(access), place.text,
             name_of_threads(cell.reader).text);
    }
}

}  // namespace simt
