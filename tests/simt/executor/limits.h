// The device that the executor stands for: an A100.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

constexpr unsigned WARP_SIZE = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP_SIZE;
constexpr uint32_t ALL_LANES = 0xffffffffu;

// The most shared memory of a block: by default, and with the function's opt-in attribute.
constexpr size_t SHARED_BYTES = 48 * 1024;
constexpr size_t SHARED_BYTES_OPT_IN = 163 * 1024;

}  // namespace simt
