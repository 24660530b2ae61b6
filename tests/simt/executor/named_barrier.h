// Named barriers: bar.sync of some warps of a block, by a number and a count of threads.
#pragma once

#include <string>

namespace simt {

void begin_named_barriers();

// "128 of 256 threads wait at named barrier 1" for each that has some; empty if none has.
std::string named_barrier_waits();

}  // namespace simt
