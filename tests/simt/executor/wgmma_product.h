// The arithmetic of wgmma.m64nNk16, f16 to f32.
#pragma once

#include <cstdint>

#include "limits.h"

namespace simt {

constexpr unsigned WGMMA_ROWS = 64;
constexpr unsigned WGMMA_DEPTH = 16;
constexpr unsigned WGMMA_MOST_COLUMNS = 256;
// In a slab, rows of 128 bytes whose 16-byte pieces the swizzle exchanges; it repeats every eight rows.
constexpr unsigned SLAB_ROW = 128;
constexpr unsigned SLAB_PERIOD = 1024;

// Where the 16 bytes at an address of a slab lie in the swizzle.
inline uintptr_t swizzled(uintptr_t address) { return address ^ (address >> 3 & 0x70); }

// The operands as f32; `sums` of a row at a pitch of WGMMA_MOST_COLUMNS.
struct WideOperands {
    alignas(64) float a[WGMMA_ROWS][WGMMA_DEPTH];
    alignas(64) float b[WGMMA_DEPTH][WGMMA_MOST_COLUMNS];
    alignas(64) float sums[WGMMA_ROWS][WGMMA_MOST_COLUMNS];
};

// Row after row of 16 elements: the left operand, and the right one transposed.
void widen_a(uintptr_t slab, WideOperands& wide);
void widen_b(uintptr_t slab, unsigned columns, WideOperands& wide);
// The right operand with contiguous columns, 64 at most: 16 rows of a slab.
void widen_b_rows(uintptr_t slab, unsigned columns, WideOperands& wide);
// The left operand from registers: each thread has the four words of an mma's (fragments.h), its warp 16 rows.
void widen_registers(const unsigned (&words)[WARPGROUP_SIZE][4], WideOperands& wide);

// A thread's sums, columns / 2 of them, to and from the rows: its warp has 16 rows, as an mma's c.
void gather_sums(float* const (&of_threads)[WARPGROUP_SIZE], unsigned columns, WideOperands& wide);
void scatter_sums(const WideOperands& wide, unsigned columns, float* const (&of_threads)[WARPGROUP_SIZE]);

// sums += a · b, k ascending.
void multiply(WideOperands& wide, unsigned columns);

}  // namespace simt
