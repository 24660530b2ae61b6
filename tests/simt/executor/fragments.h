// The operands of mma.m16n8k16 as the lanes of a warp hold them (PTX ISA, "Matrix fragments for mma.m16n8k16").
#pragma once

#include "../kernel/ptx.h"
#include "limits.h"

namespace simt {

// Lane 4·g + m holds, with g and m from 0 and pairs of f16 in a word,
//   a: rows g and g + 8 in turn, columns 2m and 2m + 1, then columns 2m + 8 and 2m + 9;
//   b: column g, rows 2m and 2m + 1, then rows 2m + 8 and 2m + 9;
//   c: row g, columns 2m and 2m + 1, then row g + 8.
struct Fragments {
    alignas(64) Words4 a[WARP_SIZE];
    alignas(64) Words2 b[WARP_SIZE];
    alignas(64) Floats4 c[WARP_SIZE];
};

// c += a · b in f32, k ascending.
void multiply_add(Fragments& fragments);

}  // namespace simt
