// What the library's debug information says of an address. Slow, since it asks binutils; nothing where they are
// missing.
#pragma once

#include <string>

namespace simt {

struct SourceLine {
    const char* file = nullptr;
    unsigned line = 0;
};

// The line of a call that returns to this address: the innermost one outside the executor's own headers.
SourceLine source_line(const void* code);

// "byte 12 of NAME" for an address in a variable; empty for any other.
std::string place_in_variable(const void* address);

}  // namespace simt
