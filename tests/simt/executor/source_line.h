// Where in a source an address of the code comes from.
#pragma once

namespace simt {

struct SourceLine {
    const char* file = nullptr;
    unsigned line = 0;
};

// The innermost line outside the executor's own headers; nothing without binutils' addr2line. Slow: it starts a process.
SourceLine source_line(const void* code);

}  // namespace simt
