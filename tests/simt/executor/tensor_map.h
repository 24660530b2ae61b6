// What cuTensorMapEncodeTiled writes, and TMA reads: the 128 bytes are the stand-in's own, as NVIDIA's are the
// driver's.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

constexpr unsigned MAX_RANK = 5;

enum class ElementType : uint8_t { BITS, F16, BF16, F32 };

struct TensorMap {
    static constexpr uint32_t MARK = 0x544d4150;
    static constexpr size_t ALIGNMENT = 64;

    uint32_t mark;
    ElementType type;
    uint8_t element_bytes;
    uint8_t rank;
    // The 128-byte swizzle, or none.
    bool swizzled;
    uint64_t address;
    // In elements, the contiguous dimension first.
    uint32_t sizes[MAX_RANK];
    uint16_t box[MAX_RANK];
    // In bytes, of the second dimension and those behind it.
    uint64_t strides[MAX_RANK - 1];
    unsigned char unused[48];

    unsigned row_bytes() const { return box[0] * element_bytes; }
    unsigned rows() const {
        unsigned product = 1;
        for (unsigned i = 1; i < rank; i++) product *= box[i];
        return product;
    }
};

static_assert(sizeof(TensorMap) == 128);

}  // namespace simt
