// Errors of the kernel that runs.
#pragma once

#include <cstdint>
#include <string>

#include "block.h"
#include "report.h"

namespace simt {

// Counts a finding. True for the launch's first, which is to be described.
bool count(SimtFinding finding);

// Writes the report's message. `lane` is the thread at fault, if it was one.
__attribute__((format(printf, 4, 5), cold)) void describe(SimtFinding finding, const Lane* lane, Place place,
                                                          const char* format, ...);

// Counts, describes and gives the launch up: for faults that the kernel cannot go on from.
[[noreturn]] __attribute__((format(printf, 4, 5), cold)) void fail(SimtFinding finding, const Lane* lane, Place place,
                                                                   const char* format, ...);

// "2 × race, 1 × misaligned", or nothing.
std::string summary(const SimtReport& report);

// "thread (1, 0, 0)" for a Who of the shadow memory; "several threads", perhaps with their warp, for several.
std::string name_of_threads(uint16_t who);

}  // namespace simt
