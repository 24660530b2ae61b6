// The shadow of shared memory: who touched which bytes last, and when.
//
// Two accesses by different threads, one of them a write, need something between that orders them: a barrier of the
// block, or one of the warp if they are of one warp. A counter (Executor::now) moves with each of these, so that what a
// byte needs to remember is the time and the thread of its last write and of the reads since: whether they are ordered
// with an access now is a comparison with the time of the last barrier. What a block leaves behind lies before its
// successor's begin, so nothing is cleared between blocks.
//
//   now 5, barrier_time 5   thread 0 writes byte 64    cell: written at 5 by thread 0
//                           thread 4 reads byte 64     5 is not before 5, another thread: a race
//   now 6, barrier_time 6   thread 4 reads byte 64     5 is before 6: fine
//
// mbarriers and what is asynchronous (TMA, wgmma) order otherwise: where the times do not tell that an access is
// ordered, the threads' clocks may (clocks.h). Several threads that read a byte are then listed, since a thread may know
// one of them to be done and another not. What TMA and wgmma may still read is kept by line: a write must know that it
// is done.
//
// A line of 16 bytes has a cell for each piece of `step` bytes, the largest that all its accesses were made of: kernels
// use a line in pieces of one size, so that an access costs one cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "block.h"
#include "clocks.h"
#include "who.h"

namespace simt {

// Flags of a writer: a cp.async or TMA load that is not complete, an atomic operation, memory beyond what the launch
// gives, a TMA load that has arrived.
constexpr Who IN_FLIGHT = 1 << 12;
constexpr Who ATOMIC = 1 << 13;
constexpr Who OUTSIDE = 1 << 14;
constexpr Who ARRIVED = 1 << 15;

enum class Access { READ, WRITE, ATOMIC };

// Whether what `who` did at `time` comes before what the lane does now, by barriers of the block or the warp.
inline bool is_before(uint32_t time, Who who, const Lane& lane) {
    return time < executor.barrier_time || (who & THREADS) == lane.who ||
           ((who & THREADS) >> WHO_WARP_SHIFT == lane.warp->index && time < lane.warp->sync_time);
}

// The same, also by mbarriers and named barriers.
inline bool is_ordered(uint32_t time, Who who, const Lane& lane) {
    return is_before(time, who, lane) || clocks.knows(lane, time, who);
}

// "byte 64 of dynamic shared memory".
std::string name_of_place(uintptr_t address);

class SharedMemory {
public:
    SharedMemory();

    bool contains(uintptr_t address) const { return address - begin_ < bytes_; }

    void clear();
    void begin_block(uint32_t now, size_t dynamic_bytes);

    // An aligned access of 1, 2, 4, 8 or 16 bytes.
    template <unsigned BYTES, Access ACCESS>
    void access(const Lane& lane, uintptr_t address, const void* code);

    // Any other read or write.
    void access(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code);

    // The start of a cp.async of 16 bytes, and its arrival.
    void begin_copy(const Lane& lane, uintptr_t address, const void* code);
    void end_copy(const Lane& lane, uintptr_t address);

    // The start of a TMA load of whole lines by a lane, and its arrival.
    void begin_load(const Lane& lane, uintptr_t address, size_t bytes, Who agent, const void* code);
    void end_load(uintptr_t address, size_t bytes, Who agent);

private:
    friend class AsyncRead;

    static constexpr unsigned LINE = 16;
    // The most agents that may read a line at once and are all remembered.
    static constexpr unsigned MAX_READS = 5;

    struct Cell {
        // 0: not written, not read.
        uint32_t write_time;
        uint32_t read_time;
        Who writer;
        Who reader;
    };

    // An agent reads a line, from a time on until somebody has waited for it.
    struct Read {
        uint32_t time;
        Who agent;
    };

    struct alignas(64) Line {
        // The begin of the block that used the line last.
        uint32_t block;
        uint16_t step;
        uint16_t read_count;
        Cell cells[LINE];
        Read reads[MAX_READS];
    };

    template <Access ACCESS>
    void access_piece(const Lane& lane, uintptr_t address, size_t bytes, const void* code);
    static Who joined(uint32_t time, Who who, const Lane& lane);
    void begin_line(size_t index);
    void refine(Line& line, unsigned step);
    template <Access ACCESS>
    void touch(Cell& cell, const Lane& lane, uintptr_t address, const void* code);
    template <Access ACCESS>
    bool is_fine(const Cell& cell, const Lane& lane) const;
    __attribute__((noinline)) void list_reader(Cell& cell, const Lane& lane);
    __attribute__((noinline)) bool are_readers_ordered(const Cell& cell, const Lane& lane) const;
    __attribute__((noinline)) void check_reads(Line& line, const Lane& lane, Access access, uintptr_t address,
                                               const void* code);
    __attribute__((noinline, cold)) void find(const Cell& cell, const Lane& lane, Access access, uintptr_t address,
                                              const void* code);

    uintptr_t begin_;
    size_t bytes_;
    size_t shadow_bytes_;
    Line* lines_;
    uint32_t block_ = 0;
    size_t dynamic_bytes_ = 0;
};

extern SharedMemory shared_memory;

// A read by TMA or wgmma, line by line: what the lanes, in whose name it happens, must know to be written, and visible
// to the asynchronous proxy.
class AsyncRead {
public:
    AsyncRead(const Lane* const* lanes, unsigned count, Who agent, uint32_t time, const void* code)
        : lanes_(lanes), count_(count), agent_(agent), time_(time), code_(code) {}

    // Whether nobody need have written what is read: garbage in rows of a left operand stays in these rows.
    void allow_unwritten() { may_be_unwritten_ = true; }

    void line(uintptr_t address);

private:
    void check(const SharedMemory::Cell& cell, uintptr_t address);

    const Lane* const* lanes_;
    unsigned count_;
    Who agent_;
    uint32_t time_;
    const void* code_;
    bool may_be_unwritten_ = false;
    // The last write that was found to be fine.
    uint32_t fine_time_ = UINT32_MAX;
    Who fine_writer_ = 0;
};

template <Access ACCESS>
inline bool SharedMemory::is_fine(const Cell& cell, const Lane& lane) const {
    if (cell.writer & (IN_FLIGHT | OUTSIDE | ARRIVED)) {
        if ((cell.writer & ARRIVED) == 0 || !clocks.knows(lane, cell.write_time, cell.writer)) return false;
        return ACCESS == Access::READ || are_readers_ordered(cell, lane);
    }
    const bool both_atomic = ACCESS == Access::ATOMIC && (cell.writer & ATOMIC) != 0;
    if (!both_atomic && !is_ordered(cell.write_time, cell.writer, lane)) return false;
    if (ACCESS != Access::WRITE && cell.write_time == 0) return false;
    return ACCESS == Access::READ || is_before(cell.read_time, cell.reader, lane) || are_readers_ordered(cell, lane);
}

// This lane together with earlier accessors of the same kind that are not ordered before it. The latest time is kept
// for all of them.
inline Who SharedMemory::joined(uint32_t time, Who who, const Lane& lane) {
    if (is_before(time, who, lane)) return lane.who;
    const bool same_warp = (who & THREADS) >> WHO_WARP_SHIFT == lane.warp->index;
    return same_warp ? lane.warp->index << WHO_WARP_SHIFT | SEVERAL_LANES : SEVERAL_WARPS;
}

template <Access ACCESS>
inline void SharedMemory::touch(Cell& cell, const Lane& lane, uintptr_t address, const void* code) {
    if (!is_fine<ACCESS>(cell, lane)) find(cell, lane, ACCESS, address, code);
    if (ACCESS == Access::READ) {
        // The most frequent case: several warps read it already.
        if (cell.reader == SEVERAL_WARPS && cell.read_time == executor.now) return;
        if (clocks.on() && !is_before(cell.read_time, cell.reader, lane)) {
            list_reader(cell, lane);
        } else {
            cell.reader = joined(cell.read_time, cell.reader, lane);
        }
        cell.read_time = executor.now;
    } else if (ACCESS == Access::WRITE) {
        cell = {executor.now, 0, lane.who, 0};
    } else {
        cell = {executor.now, 0, Who(joined(cell.write_time, cell.writer, lane) | ATOMIC), 0};
    }
}

template <unsigned BYTES, Access ACCESS>
inline void SharedMemory::access(const Lane& lane, uintptr_t address, const void* code) {
    const size_t index = (address - begin_) / LINE;
    Line& line = lines_[index];
    if (line.block != block_) begin_line(index);
    if (BYTES < line.step) refine(line, BYTES);
    if (ACCESS != Access::READ && line.read_count > 0) check_reads(line, lane, ACCESS, address, code);
    const unsigned at = address % LINE;
    if (BYTES == LINE && ACCESS == Access::WRITE && line.step != LINE) {
        // The whole line at once: from here on it needs one cell.
        for (unsigned i = 0; i < LINE; i += line.step) touch<ACCESS>(line.cells[i], lane, address + i, code);
        line.step = LINE;
        return;
    }
    for (unsigned i = at; i < at + BYTES; i += line.step) touch<ACCESS>(line.cells[i], lane, address - at + i, code);
}

}  // namespace simt
