// ldmatrix, stmatrix and mma.
#include "../kernel/sm90_runtime.h"

#include <cstring>

#include "collective.h"
#include "findings.h"
#include "shared_memory.h"

namespace simt {
namespace {

constexpr unsigned SIDE = 8;
constexpr unsigned ROW_BYTES = 16;

// Cycles to read eight rows of 16 bytes at once: the most different rows that lie in the same four banks.
unsigned bank_cycles(const void* const* rows) {
    uintptr_t seen[SIDE][SIDE];
    unsigned counts[SIDE] = {};
    unsigned most = 0;
    for (unsigned row = 0; row < SIDE; row++) {
        const uintptr_t chunk = reinterpret_cast<uintptr_t>(rows[row]) / ROW_BYTES;
        unsigned& count = counts[chunk % SIDE];
        uintptr_t* const chunks = seen[chunk % SIDE];
        bool known = false;
        for (unsigned i = 0; i < count; i++) known |= chunks[i] == chunk;
        if (known) continue;
        chunks[count++] = chunk;
        if (count > most) most = count;
    }
    return most;
}

unsigned& word(Warp& warp, unsigned lane, unsigned matrix) { return (&warp.matrices[lane].x)[matrix]; }

uintptr_t check_row(const Lane& lane, const void* row) {
    const auto address = reinterpret_cast<uintptr_t>(row);
    const char* const name = lane.operation->name;
    if (!shared_memory.contains(address)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {lane.code}, "gives %s %p, which is not shared memory", name, row);
    }
    if (address % ROW_BYTES != 0) {
        fail(SIMT_MISALIGNED, &lane, {lane.code}, "gives %s %p, no multiple of 16", name, row);
    }
    return address;
}

template <bool TRANSPOSED>
void load(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        const void* const* rows = warp.rows + matrix * SIDE;
        for (unsigned row = 0; row < SIDE; row++) {
            const Lane& lane = warp.lanes[matrix * SIDE + row];
            const uintptr_t address = check_row(lane, rows[row]);
            shared_memory.access<ROW_BYTES, Access::READ>(lane, address, lane.code);
            if (!TRANSPOSED) {
                unsigned words[4];
                memcpy(words, rows[row], sizeof words);
                for (unsigned column = 0; column < 4; column++) word(warp, row * 4 + column, matrix) = words[column];
            } else {
                uint16_t elements[SIDE];
                memcpy(elements, rows[row], sizeof elements);
                for (unsigned column = 0; column < SIDE; column++) {
                    unsigned& pair = word(warp, column * 4 + row / 2, matrix);
                    pair = row % 2 == 0 ? elements[column] : pair | unsigned(elements[column]) << 16;
                }
            }
        }
        executor.report.ldmatrix_matrices++;
        executor.report.ldmatrix_cycles += bank_cycles(rows);
    }
}

void store(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        for (unsigned row = 0; row < SIDE; row++) {
            const unsigned source = matrix * SIDE + row;
            const Lane& lane = warp.lanes[source];
            const uintptr_t address = check_row(lane, warp.rows[source]);
            shared_memory.access<ROW_BYTES, Access::WRITE>(lane, address, lane.code);
            unsigned words[4];
            for (unsigned column = 0; column < 4; column++) words[column] = word(warp, row * 4 + column, matrix);
            memcpy(reinterpret_cast<void*>(address), words, sizeof words);
        }
    }
}

void multiply(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    executor.report.mma++;
    multiply_add(warp.fragments);
}

constexpr Operation LOAD = {"ldmatrix", load<false>};
constexpr Operation LOAD_TRANSPOSED = {"ldmatrix.trans", load<true>};
constexpr Operation STORE = {"stmatrix", store};
constexpr Operation MULTIPLY = {"mma", multiply};

}  // namespace

Switch come_to_load(const void* row, bool transposed) {
    const Lane& lane = *executor.current;
    lane.warp->rows[lane.index] = row;
    return meet(transposed ? LOAD_TRANSPOSED : LOAD, ALL_LANES, __builtin_return_address(0));
}

Words4 take_matrices() { return executor.current->warp->matrices[executor.current->index]; }

Switch come_to_store(void* row, Words4 words) {
    const Lane& lane = *executor.current;
    lane.warp->rows[lane.index] = row;
    lane.warp->matrices[lane.index] = words;
    return meet(STORE, ALL_LANES, __builtin_return_address(0));
}

Switch come_to_product(Floats4 c, Words4 a, Words2 b) {
    const Lane& lane = *executor.current;
    Fragments& fragments = lane.warp->fragments;
    fragments.a[lane.index] = a;
    fragments.b[lane.index] = b;
    fragments.c[lane.index] = c;
    return meet(MULTIPLY, ALL_LANES, __builtin_return_address(0));
}

Floats4 take_product() { return executor.current->warp->fragments.c[executor.current->index]; }

}  // namespace simt
