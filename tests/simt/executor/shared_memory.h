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
// A line of 16 bytes has a cell for each piece of `step` bytes, the largest that all its accesses were made of: kernels
// use a line in pieces of one size, so that an access costs one cell.
#pragma once

#include <cstddef>
#include <cstdint>

#include "block.h"

namespace simt {

// A thread (its warp, and its lane in the lower bits), or several ones, of a warp or of any.
typedef uint16_t Who;
constexpr unsigned WHO_WARP_SHIFT = 6;
constexpr Who SEVERAL_LANES = 32;
constexpr Who SEVERAL_WARPS = 63 << WHO_WARP_SHIFT;
constexpr Who THREADS = 0xfff;
// Flags of a writer: a cp.async that is not complete, an atomic operation, memory beyond what the launch gives.
constexpr Who IN_FLIGHT = 1 << 12;
constexpr Who ATOMIC = 1 << 13;
constexpr Who OUTSIDE = 1 << 14;

enum class Access { READ, WRITE, ATOMIC };

class SharedMemory {
public:
    SharedMemory();

    bool contains(uintptr_t address) const { return address - begin_ < bytes_; }

    void begin_launch();
    void begin_block(uint32_t now, size_t dynamic_bytes);

    // An aligned access of 1, 2, 4, 8 or 16 bytes.
    template <unsigned BYTES, Access ACCESS>
    void access(const Lane& lane, uintptr_t address, const void* code);

    // Any other read or write.
    void access(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code);

    // The start of a cp.async of 16 bytes, and its arrival.
    void begin_copy(const Lane& lane, uintptr_t address, const void* code);
    void end_copy(const Lane& lane, uintptr_t address);

private:
    static constexpr unsigned LINE = 16;

    struct Cell {
        // 0: not written, not read.
        uint32_t write_time;
        uint32_t read_time;
        Who writer;
        Who reader;
    };

    struct alignas(64) Line {
        // The begin of the block that used the line last.
        uint32_t block;
        uint32_t step;
        Cell cells[LINE];
    };

    // Whether what `who` did at `time` comes before what the lane does now.
    static bool is_before(uint32_t time, Who who, const Lane& lane) {
        return time < executor.barrier_time || (who & THREADS) == lane.who ||
               ((who & THREADS) >> WHO_WARP_SHIFT == lane.warp->index && time < lane.warp->sync_time);
    }

    template <Access ACCESS>
    void access_piece(const Lane& lane, uintptr_t address, size_t bytes, const void* code);
    static Who joined(uint32_t time, Who who, const Lane& lane);
    void begin_line(size_t index);
    void refine(Line& line, unsigned step);
    template <Access ACCESS>
    void touch(Cell& cell, const Lane& lane, uintptr_t address, const void* code);
    template <Access ACCESS>
    bool is_fine(const Cell& cell, const Lane& lane) const;
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

template <Access ACCESS>
inline bool SharedMemory::is_fine(const Cell& cell, const Lane& lane) const {
    if (cell.writer & (IN_FLIGHT | OUTSIDE)) return false;
    const bool both_atomic = ACCESS == Access::ATOMIC && (cell.writer & ATOMIC) != 0;
    if (!both_atomic && !is_before(cell.write_time, cell.writer, lane)) return false;
    if (ACCESS != Access::WRITE && cell.write_time == 0) return false;
    return ACCESS == Access::READ || is_before(cell.read_time, cell.reader, lane);
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
        cell.reader = joined(cell.read_time, cell.reader, lane);
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
