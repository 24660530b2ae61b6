// What the devices have in common that the executor stands for.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

constexpr unsigned WARP_SIZE = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned MAX_WARPS = MAX_THREADS / WARP_SIZE;
constexpr uint32_t ALL_LANES = 0xffffffffu;
constexpr unsigned WARPGROUP_SIZE = 128;
constexpr unsigned WARPS_OF_GROUP = WARPGROUP_SIZE / WARP_SIZE;
constexpr unsigned REGISTERS = 65536;

// The most shared memory of a block: by default, and with the function's opt-in attribute on the device that has most.
constexpr size_t SHARED_BYTES = 48 * 1024;
constexpr size_t MOST_SHARED_BYTES = 227 * 1024;

}  // namespace simt
