// The parameters of every linear; strides are in elements.
#pragma once

namespace {

struct LinearParams {
    int rows;
    int outputs;
    int inputs;
    int input_stride;
    int weight_stride;
    int out_stride;
    unsigned epilogue;
};

}  // namespace
