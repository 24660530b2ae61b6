#include "shared_memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../kernel/qualifiers.h"
#include "findings.h"
#include "scheduler.h"
#include "symbols.h"

// The statics of the kernels and the dynamic memory, which the build script moved to this section.
extern "C" SIMT_RUNTIME unsigned char __start_simt_shared[];
extern "C" SIMT_RUNTIME unsigned char __stop_simt_shared[];

namespace simt {
namespace {

// Fills what nobody wrote yet: NaN in f32, f16 and bf16, and out of range as an index.
constexpr int GARBAGE = 0xff;

std::string name_of_place(uintptr_t address) {
    const auto dynamic = reinterpret_cast<uintptr_t>(dynamic_shared);
    if (address - dynamic < SHARED_BYTES_OPT_IN)
        return "byte " + std::to_string(address - dynamic) + " of dynamic shared memory";
    const std::string place = place_in_variable(reinterpret_cast<const void*>(address));
    return place.empty() ? "static shared memory" : place;
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
    void* lines =
        mmap(nullptr, shadow_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED) {
        perror("simt: shadow of shared memory");
        abort();
    }
    lines_ = static_cast<Line*>(lines);
}

void SharedMemory::begin_launch() {
    // Clears the shadow before the clock overflows.
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
    // In aligned pieces, as large as possible.
    while (bytes > 0) {
        size_t piece = LINE;
        while (address % piece != 0 || piece > bytes) piece /= 2;
        if (kind == Access::READ) {
            access_piece<Access::READ>(lane, address, piece, code);
        } else {
            access_piece<Access::WRITE>(lane, address, piece, code);
        }
        address += piece;
        bytes -= piece;
    }
}

template <Access ACCESS>
void SharedMemory::access_piece(const Lane& lane, uintptr_t address, size_t bytes, const void* code) {
    switch (bytes) {
        case 1: access<1, ACCESS>(lane, address, code); break;
        case 2: access<2, ACCESS>(lane, address, code); break;
        case 4: access<4, ACCESS>(lane, address, code); break;
        case 8: access<8, ACCESS>(lane, address, code); break;
        default: access<LINE, ACCESS>(lane, address, code);
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
    const bool is_outside = (cell.writer & OUTSIDE) != 0;
    const bool is_in_flight = (cell.writer & IN_FLIGHT) != 0;
    const bool is_uninitialised = access != Access::WRITE && cell.write_time == 0;
    const SimtFinding finding = is_outside         ? SIMT_OUT_OF_BOUNDS
                                : is_in_flight     ? SIMT_IN_FLIGHT
                                : is_uninitialised ? SIMT_UNINITIALISED
                                                   : SIMT_RACE;
    if (count(finding)) {
        const std::string place = name_of_place(address);
        const bool after_write = !is_before(cell.write_time, cell.writer, lane);
        const std::string other = name_of_threads(after_write || is_in_flight ? cell.writer & THREADS : cell.reader);
        std::string what;
        switch (finding) {
            case SIMT_OUT_OF_BOUNDS: what = "; the launch gives " + std::to_string(dynamic_bytes_); break;
            case SIMT_IN_FLIGHT: what = ", to which a copy of " + other + " is under way"; break;
            case SIMT_UNINITIALISED: what = ", which nobody wrote"; break;
            default: what = ", which " + other + (after_write ? " wrote" : " read") + ", without a barrier between";
        }
        describe(finding, &lane, {code}, "%s %s%s", verb(access), place.c_str(), what.c_str());
    }
    if (is_outside) give_up();
}

}  // namespace simt
