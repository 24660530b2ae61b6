// add_positions: the class token in front of each view's patches, and the positions.
//
// patches [views·(tokens−1), patches_stride] f32 or f16, class_token [width], positions [tokens, width], out
// [views·tokens, out_stride] f32 or f16.
// Block: one row of out.
#include "element.cuh"

namespace {

struct AddPositionsParams {
    unsigned rows;
    unsigned width;
    unsigned tokens;
    unsigned patches_stride;
    unsigned out_stride;
};

template <typename In, typename Out>
__device__ __forceinline__ void add_positions(const AddPositionsParams& params, const In* patches,
                                              const float* class_token, const float* positions, Out* out) {
    const unsigned row = blockIdx.x;
    if (row >= params.rows) return;
    const unsigned view = row / params.tokens;
    const unsigned token = row % params.tokens;
    positions += size_t(token) * params.width;
    out += size_t(row) * params.out_stride;
    if (token > 0) patches += size_t(view * (params.tokens - 1) + token - 1) * params.patches_stride;
    for (unsigned column = threadIdx.x; column < params.width; column += blockDim.x) {
        const float value = token == 0 ? class_token[column] : widen(patches[column]);
        store(out + column, value + positions[column]);
    }
}

}  // namespace

extern "C" __global__ void add_positions_f32_f32(AddPositionsParams params, const float* patches, const float* class_token,
                                                 const float* positions, float* out) {
    add_positions(params, patches, class_token, positions, out);
}

extern "C" __global__ void add_positions_f32_f16(AddPositionsParams params, const float* patches, const float* class_token,
                                                 const float* positions, __half* out) {
    add_positions(params, patches, class_token, positions, out);
}

extern "C" __global__ void add_positions_f16_f32(AddPositionsParams params, const __half* patches, const float* class_token,
                                                 const float* positions, float* out) {
    add_positions(params, patches, class_token, positions, out);
}

extern "C" __global__ void add_positions_f16_f16(AddPositionsParams params, const __half* patches, const float* class_token,
                                                 const float* positions, __half* out) {
    add_positions(params, patches, class_token, positions, out);
}
