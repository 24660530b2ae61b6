// Named barriers: bar.sync of some warps of a block, by a number and a count of threads.
#pragma once

#include <string>

namespace simt {

void begin_named_barriers();

// "4 warps at named barrier 1 (of 256 threads)" for each that warps wait at; empty if there is none.
std::string named_barrier_waits();

}  // namespace simt
