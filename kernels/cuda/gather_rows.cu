// gather_rows: out[first_row + i] = input[rows[i]].
//
// input and out [·, stride] f32 or f16, rows [count].
// Block: one row of out.
#include "element.cuh"

namespace {

struct GatherRowsParams {
    unsigned count;
    unsigned first_row;
    unsigned width;
    unsigned input_stride;
    unsigned out_stride;
};

template <typename In, typename Out>
__device__ __forceinline__ void gather_rows(const GatherRowsParams& params, const In* input, const unsigned* rows,
                                            Out* out) {
    const unsigned i = blockIdx.x;
    if (i >= params.count) return;
    input += size_t(rows[i]) * params.input_stride;
    out += size_t(params.first_row + i) * params.out_stride;
    for (unsigned column = threadIdx.x; column < params.width; column += blockDim.x) {
        store(out + column, widen(input[column]));
    }
}

}  // namespace

extern "C" __global__ void gather_rows_f32_f32(GatherRowsParams params, const float* input, const unsigned* rows,
                                               float* out) {
    gather_rows(params, input, rows, out);
}

extern "C" __global__ void gather_rows_f32_f16(GatherRowsParams params, const float* input, const unsigned* rows,
                                               __half* out) {
    gather_rows(params, input, rows, out);
}

extern "C" __global__ void gather_rows_f16_f32(GatherRowsParams params, const __half* input, const unsigned* rows,
                                               float* out) {
    gather_rows(params, input, rows, out);
}

extern "C" __global__ void gather_rows_f16_f16(GatherRowsParams params, const __half* input, const unsigned* rows,
                                               __half* out) {
    gather_rows(params, input, rows, out);
}
