// embed_tokens: out[r] = table[token of r] + positions[place of r].
//
// tokens [rows] of (token, place in its sequence), table [vocabulary, width] f32, positions [context, width] f32,
// out [rows, out_stride] f32 or f16.
// Block: one row of out.
#include "element.cuh"

namespace {

struct EmbedTokensParams {
    unsigned rows;
    unsigned width;
    unsigned out_stride;
};

template <typename Out>
__device__ __forceinline__ void embed_tokens(const EmbedTokensParams& params, const uint2* tokens, const float* table,
                                             const float* positions, Out* out) {
    const unsigned row = blockIdx.x;
    if (row >= params.rows) return;
    const uint2 token = tokens[row];
    table += size_t(token.x) * params.width;
    positions += size_t(token.y) * params.width;
    out += size_t(row) * params.out_stride;
    for (unsigned column = threadIdx.x; column < params.width; column += blockDim.x) {
        store(out + column, table[column] + positions[column]);
    }
}

}  // namespace

extern "C" __global__ void embed_tokens_f32(EmbedTokensParams params, const uint2* tokens, const float* table,
                                            const float* positions, float* out) {
    embed_tokens(params, tokens, table, positions, out);
}

extern "C" __global__ void embed_tokens_f16(EmbedTokensParams params, const uint2* tokens, const float* table,
                                            const float* positions, __half* out) {
    embed_tokens(params, tokens, table, positions, out);
}
