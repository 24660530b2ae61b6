// Errors of the kernel that runs.
#pragma once

#include <cstdint>

#include "block.h"
#include "report.h"

namespace simt {

// Counts a finding; the launch's first is put into words. `lane` did it, where it was one.
__attribute__((format(printf, 4, 5), cold)) void note(SimtFinding finding, const Lane* lane, Place place,
                                                      const char* format, ...);

// The same, where the kernel cannot go on.
[[noreturn]] __attribute__((format(printf, 4, 5), cold)) void fail(SimtFinding finding, const Lane* lane, Place place,
                                                                   const char* format, ...);

const char* name_of(SimtFinding finding);

// "thread (1, 0, 0)" for the name of a lane in the shadow memory, or what is known of several.
struct Words {
    char text[64];
};
Words name_of_threads(uint16_t who);

}  // namespace simt
