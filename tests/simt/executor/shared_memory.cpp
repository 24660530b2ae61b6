#include "shared_memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

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

// Of cells whose readers are listed: by thread, when it read the cell; 0 if it did not.
typedef std::vector<uint32_t> Readers;
std::unordered_map<const void*, Readers>& listed_readers() {
    static auto& all = *new std::unordered_map<const void*, Readers>;
    return all;
}

void add_readers(Readers& readers, Who who, uint32_t time) {
    const unsigned warp = who >> WHO_WARP_SHIFT;
    for (unsigned i = 0; i < readers.size(); i++) {
        const bool same_warp = who == SEVERAL_WARPS || i / WARP_SIZE == warp;
        if (same_warp && ((who & SEVERAL_LANES) != 0 || who == SEVERAL_WARPS || i % WARP_SIZE == who % WARP_SIZE)) {
            readers[i] = time;
        }
    }
}

const char* verb(Access access) {
    return access == Access::READ ? "reads" : access == Access::WRITE ? "writes" : "updates";
}

}  // namespace

SharedMemory shared_memory;

std::string name_of_place(uintptr_t address) {
    const auto dynamic = reinterpret_cast<uintptr_t>(dynamic_shared);
    if (address - dynamic < MOST_SHARED_BYTES)
        return "byte " + std::to_string(address - dynamic) + " of dynamic shared memory";
    const std::string place = place_in_variable(reinterpret_cast<const void*>(address));
    return place.empty() ? "static shared memory" : place;
}

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

void SharedMemory::clear() { memset(lines_, 0, shadow_bytes_); }

void SharedMemory::begin_block(uint32_t now, size_t dynamic_bytes) {
    block_ = now;
    dynamic_bytes_ = dynamic_bytes;
    if (!listed_readers().empty()) listed_readers().clear();
}

void SharedMemory::begin_line(size_t index) {
    Line& line = lines_[index];
    line.block = block_;
    line.step = LINE;
    line.read_count = 0;
    line.cells[0] = {};
    const uintptr_t address = begin_ + index * LINE;
    const size_t offset = address - reinterpret_cast<uintptr_t>(dynamic_shared);
    if (offset < MOST_SHARED_BYTES && offset + LINE > dynamic_bytes_) {
        line.step = 1;
        for (size_t i = 0; i < LINE; i++) {
            line.cells[i] = {};
            if (offset + i >= dynamic_bytes_) line.cells[i].writer = OUTSIDE;
        }
    }
    memset(reinterpret_cast<void*>(address), GARBAGE, LINE);
}

void SharedMemory::refine(Line& line, unsigned step) {
    for (unsigned i = 0; i < LINE; i += step) {
        const Cell& whole = line.cells[i / line.step * line.step];
        if (whole.reader == LISTED) listed_readers()[&line.cells[i]] = Readers(listed_readers()[&whole]);
        line.cells[i] = whole;
    }
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

void SharedMemory::begin_load(const Lane& lane, uintptr_t address, size_t bytes, Who agent, const void* code) {
    for (uintptr_t at = address; at < address + bytes; at += LINE) {
        if (!contains(at)) fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "loads by TMA past the end of shared memory");
        access<LINE, Access::WRITE>(lane, at, code);
        Line& line = lines_[(at - begin_) / LINE];
        line.cells[0].writer = agent | IN_FLIGHT;
        line.read_count = 0;
    }
    memset(reinterpret_cast<void*>(address), GARBAGE, bytes);
}

void SharedMemory::end_load(uintptr_t address, size_t bytes, Who agent) {
    for (uintptr_t at = address; at < address + bytes; at += LINE) {
        Line& line = lines_[(at - begin_) / LINE];
        line.step = LINE;
        line.cells[0] = {executor.now, 0, Who(agent | ARRIVED), 0};
    }
}

void SharedMemory::list_reader(Cell& cell, const Lane& lane) {
    Readers& readers = listed_readers()[&cell];
    if (cell.reader != LISTED) {
        readers.assign(executor.threads, 0);
        add_readers(readers, cell.reader, cell.read_time);
    }
    cell.reader = LISTED;
    readers[index_of(lane.who)] = executor.now;
}

bool SharedMemory::are_readers_ordered(const Cell& cell, const Lane& lane) const {
    if (cell.reader != LISTED) return is_ordered(cell.read_time, cell.reader, lane);
    const Readers& readers = listed_readers()[&cell];
    for (unsigned i = 0; i < readers.size(); i++) {
        if (readers[i] != 0 && !is_ordered(readers[i], executor.lanes[i].who, lane)) return false;
    }
    return true;
}

void SharedMemory::check_reads(Line& line, const Lane& lane, Access access, uintptr_t address, const void* code) {
    for (unsigned i = 0; i < line.read_count; i++) {
        const Read& read = line.reads[i];
        if (clocks.knows(lane, read.time, read.agent)) continue;
        if (count(SIMT_PENDING)) {
            describe(SIMT_PENDING, &lane, {code}, "%s %s, which %s may still read", verb(access),
                     name_of_place(address).c_str(), name_of_threads(read.agent).c_str());
        }
        line.read_count = 0;
        return;
    }
}

void AsyncRead::line(uintptr_t address) {
    SharedMemory& memory = shared_memory;
    const size_t index = (address - memory.begin_) / SharedMemory::LINE;
    SharedMemory::Line& line = memory.lines_[index];
    if (line.block != memory.block_) memory.begin_line(index);
    for (unsigned i = 0; i < SharedMemory::LINE; i += line.step) check(line.cells[i], address + i);
    for (unsigned i = 0; i < line.read_count; i++) {
        if (line.reads[i].agent != agent_) continue;
        line.reads[i].time = time_;
        return;
    }
    // One more than are remembered takes the place of the first.
    if (line.read_count == SharedMemory::MAX_READS) line.reads[0] = line.reads[--line.read_count];
    line.reads[line.read_count++] = {time_, agent_};
}

void AsyncRead::check(const SharedMemory::Cell& cell, uintptr_t address) {
    if (cell.writer == fine_writer_ && cell.write_time == fine_time_) return;
    if (may_be_unwritten_ && cell.write_time == 0 && cell.writer == 0) return;
    for (unsigned i = 0; i < count_; i++) {
        const Lane& lane = *lanes_[i];
        if (!shared_memory.is_fine<Access::READ>(cell, lane)) {
            shared_memory.find(cell, lane, Access::READ, address, code_);
            return;
        }
        if ((cell.writer & ARRIVED) != 0 || clocks.is_visible(lane, cell.write_time, cell.writer)) continue;
        if (count(SIMT_PROXY)) {
            describe(SIMT_PROXY, &lane, {code_}, "has %s read %s, which %s wrote, without a fence_proxy_async between",
                     name_of_threads(agent_).c_str(), name_of_place(address).c_str(),
                     name_of_threads(cell.writer).c_str());
        }
        return;
    }
    fine_time_ = cell.write_time;
    fine_writer_ = cell.writer;
}

void SharedMemory::find(const Cell& cell, const Lane& lane, Access access, uintptr_t address, const void* code) {
    const bool is_outside = (cell.writer & OUTSIDE) != 0;
    const bool is_in_flight = (cell.writer & IN_FLIGHT) != 0;
    const bool is_unknown_load = (cell.writer & ARRIVED) != 0 && !clocks.knows(lane, cell.write_time, cell.writer);
    const bool is_uninitialised = access != Access::WRITE && cell.write_time == 0;
    const SimtFinding finding = is_outside         ? SIMT_OUT_OF_BOUNDS
                                : is_in_flight || is_unknown_load ? SIMT_IN_FLIGHT
                                : is_uninitialised ? SIMT_UNINITIALISED
                                                   : SIMT_RACE;
    if (count(finding)) {
        const std::string place = name_of_place(address);
        const bool after_write = !is_ordered(cell.write_time, cell.writer, lane);
        const bool of_writer = after_write || finding == SIMT_IN_FLIGHT;
        const std::string other = name_of_threads(of_writer ? cell.writer & THREADS : cell.reader);
        std::string what;
        switch (finding) {
            case SIMT_OUT_OF_BOUNDS: what = "; the launch gives " + std::to_string(dynamic_bytes_); break;
            case SIMT_IN_FLIGHT:
                what = is_unknown_load ? ", to which " + other + ", may still copy: it has not waited for that"
                                       : ", to which a copy of " + other + " is under way";
                break;
            case SIMT_UNINITIALISED: what = ", which nobody wrote"; break;
            default: what = ", which " + other + (after_write ? " wrote" : " read") + ", without a barrier between";
        }
        describe(finding, &lane, {code}, "%s %s%s", verb(access), place.c_str(), what.c_str());
    }
    if (is_outside) give_up();
}

}  // namespace simt
