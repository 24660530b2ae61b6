// embed_tokens: out[r] = table[token of r] + positions[place of r].
//
// tokens [rows] of (token, place in its sequence), table [vocabulary, width], positions [context, width],
// out [rows, width]; all f32.
// Block: one row of out.
#include "ptx.cuh"

namespace {

struct EmbedTokensParams {
    unsigned rows;
    unsigned width;
};

}  // namespace

extern "C" __global__ void embed_tokens(EmbedTokensParams params, const uint2* tokens, const float* table,
                                        const float* positions, float* out) {
    const unsigned row = blockIdx.x;
    if (row >= params.rows) return;
    const uint2 token = tokens[row];
    table += size_t(token.x) * params.width;
    positions += size_t(token.y) * params.width;
    out += size_t(row) * params.width;
    for (unsigned column = threadIdx.x; column < params.width; column += blockDim.x) {
        out[column] = table[column] + positions[column];
    }
}
