#include "symbols.h"

#include <dlfcn.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <map>

namespace simt {
namespace {

constexpr size_t LINE_BYTES = 4096;

// Runs a command on the library of an address, whose offset in it goes where the format has %tx, and gives each line of
// its output to take(), until that returns true.
template <typename Take>
void ask(const char* format, const void* address, Take take) {
    Dl_info library;
    if (dladdr(address, &library) == 0) return;
    const ptrdiff_t offset = static_cast<const char*>(address) - static_cast<const char*>(library.dli_fbase);
    char command[LINE_BYTES];
    snprintf(command, sizeof command, format, library.dli_fname, offset);
    FILE* output = popen(command, "r");
    if (output == nullptr) return;
    char line[LINE_BYTES];
    bool taken = false;
    while (fgets(line, sizeof line, output) != nullptr) {
        line[strcspn(line, "\n")] = 0;
        taken = taken || take(line, offset);
    }
    pclose(output);
}

struct Line {
    std::string file;
    unsigned number = 0;
};

// addr2line -i prints the line, then those that it was inlined into, "FILE:LINE" each.
Line find_line(const void* code) {
    Line found;
    ask("addr2line -i -e '%s' 0x%tx 2>/dev/null", code, [&](const char* line, ptrdiff_t) {
        const char* colon = strrchr(line, ':');
        if (line[0] == '?' || colon == nullptr || strstr(line, "/simt/kernel/") != nullptr) return false;
        found.file.assign(line, colon - line);
        return sscanf(colon + 1, "%u", &found.number) == 1;
    });
    return found;
}

}  // namespace

SourceLine source_line(const void* code) {
    if (code == nullptr) return {};
    static std::map<const void*, Line> known;
    auto at = known.find(code);
    // The call is before the address.
    if (at == known.end()) at = known.emplace(code, find_line(static_cast<const char*>(code) - 1)).first;
    return {at->second.file.empty() ? nullptr : at->second.file.c_str(), at->second.number};
}

std::string place_in_variable(const void* address) {
    std::string found;
    // nm prints "ADDRESS SIZE KIND NAME", the name with all that it is nested in.
    ask("nm -C -S --defined-only '%s' 2>/dev/null", address, [&](const char* line, ptrdiff_t offset) {
        size_t begin, bytes;
        char kind;
        int name = 0;
        if (sscanf(line, "%zx %zx %c %n", &begin, &bytes, &kind, &name) != 3 || offset - begin >= bytes) return false;
        const char* last = line + name;
        for (const char* part = last; (part = strstr(part, "::")) != nullptr;) last = part += 2;
        found = "byte " + std::to_string(offset - begin) + " of " + last;
        return true;
    });
    return found;
}

}  // namespace simt
