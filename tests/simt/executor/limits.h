// The device that the executor stands for: an A100.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

constexpr unsigned WARP_SIZE = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP_SIZE;
constexpr uint32_t ALL_LANES = 0xffffffffu;

// Shared memory of a block: what it may have, and what it may have when the function's attribute says so.
constexpr size_t SHARED_BYTES = 48 * 1024;
constexpr size_t SHARED_BYTES_OPT_IN = 163 * 1024;

}  // namespace simt
