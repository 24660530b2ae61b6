// cuTensorMapEncodeTiled: what TMA will know of a tensor (../executor/tensor_map.h).
#include "../executor/tensor_map.h"

#include <cstdlib>
#include <cstring>

#include "state.h"

namespace driver {
namespace {

constexpr uint64_t MAX_SIZE = 1ull << 32, MAX_STRIDE = 1ull << 40;
constexpr unsigned MAX_BOX = 256, MAX_ELEMENT_STRIDE = 8, LEAST_BYTES = 16;

// Of CUtensorMapDataType; 0 for one that there is not.
unsigned bytes_of(int type) {
    static constexpr unsigned BYTES[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
    return type < 0 || size_t(type) >= sizeof BYTES / sizeof *BYTES ? 0 : BYTES[type];
}

simt::ElementType element_of(int type) {
    constexpr int FLOAT16 = 6, FLOAT32 = 7, BFLOAT16 = 9;
    return type == FLOAT16    ? simt::ElementType::F16
           : type == BFLOAT16 ? simt::ElementType::BF16
           : type == FLOAT32  ? simt::ElementType::F32
                              : simt::ElementType::BITS;
}

// Of CUtensorMapSwizzle: none, 32, 64 and 128 bytes.
constexpr int SWIZZLE_NONE = 0, SWIZZLE_128 = 3;

bool should_fail() {
    const char* how = getenv("SIMT_TENSOR_MAP");
    return how != nullptr && strcmp(how, "fail") == 0;
}

}  // namespace
}  // namespace driver

using namespace driver;

// Not supported: interleaved layouts, other swizzles than of 128 bytes, whose rows must be that long, and strides of
// elements.
CUDA_API CUresult cuTensorMapEncodeTiled(simt::TensorMap* map, int type, unsigned rank, void* address,
                                         const uint64_t* sizes, const uint64_t* strides, const unsigned* box,
                                         const unsigned* element_strides, int interleave, int swizzle, int promotion,
                                         int fill) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (capability() < 90) return CUDA_ERROR_NOT_SUPPORTED;
    if (should_fail()) return CUDA_ERROR_INVALID_VALUE;
    const unsigned element = bytes_of(type);
    const auto at = CUdeviceptr(address);
    if (CUdeviceptr(map) % simt::TensorMap::ALIGNMENT != 0 || at % LEAST_BYTES != 0) return CUDA_ERROR_INVALID_VALUE;
    if (element == 0 || rank == 0 || rank > simt::MAX_RANK) return CUDA_ERROR_INVALID_VALUE;
    if (interleave < 0 || interleave > 2 || swizzle < 0 || swizzle > SWIZZLE_128) return CUDA_ERROR_INVALID_VALUE;
    if (promotion < 0 || promotion > 3 || fill < 0 || fill > 1) return CUDA_ERROR_INVALID_VALUE;
    simt::TensorMap made = {};
    made.mark = simt::TensorMap::MARK;
    made.type = element_of(type);
    made.element_bytes = element;
    made.rank = rank;
    made.swizzled = swizzle == SWIZZLE_128;
    made.address = at;
    for (unsigned i = 0; i < rank; i++) {
        if (sizes[i] == 0 || sizes[i] > MAX_SIZE || box[i] == 0 || box[i] > MAX_BOX) return CUDA_ERROR_INVALID_VALUE;
        if (element_strides[i] == 0 || element_strides[i] > MAX_ELEMENT_STRIDE) return CUDA_ERROR_INVALID_VALUE;
        if (element_strides[i] != 1 || sizes[i] == MAX_SIZE) return CUDA_ERROR_NOT_SUPPORTED;
        made.sizes[i] = sizes[i];
        made.box[i] = box[i];
        if (i == 0) continue;
        const uint64_t stride = strides[i - 1];
        const uint64_t least = i == 1 ? sizes[0] * element : strides[i - 2];
        if (stride % LEAST_BYTES != 0 || stride >= MAX_STRIDE || stride < least) return CUDA_ERROR_INVALID_VALUE;
        made.strides[i - 1] = stride;
    }
    if (made.row_bytes() % LEAST_BYTES != 0) return CUDA_ERROR_INVALID_VALUE;
    const unsigned span = 16u << swizzle;
    if (swizzle != SWIZZLE_NONE && made.row_bytes() > span) return CUDA_ERROR_INVALID_VALUE;
    if (interleave != 0 || (swizzle != SWIZZLE_NONE && (swizzle != SWIZZLE_128 || made.row_bytes() != span))) {
        return CUDA_ERROR_NOT_SUPPORTED;
    }
    memcpy(map, &made, sizeof made);
    return CUDA_SUCCESS;
}
