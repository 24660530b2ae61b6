// The parameters of every attention; strides are in elements.
#pragma once

namespace {

struct AttentionParams {
    int items;
    int heads;
    int queries_stride;
    int keys_values_stride;
    int out_stride;
    int causal;
    float scale;
    int head_dim;
};

// Below every score, so far that the weight of a masked key is 0.
constexpr float LOWEST = -3.4e38f;

}  // namespace
