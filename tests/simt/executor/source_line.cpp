#include "source_line.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <string>

namespace simt {
namespace {

struct Line {
    std::string file;
    unsigned line = 0;
};

// addr2line -i prints the line, then those that it was inlined into, "FILE:LINE" each.
Line ask(const void* code) {
    Dl_info library;
    if (dladdr(code, &library) == 0) return {};
    const auto offset = static_cast<const char*>(code) - static_cast<const char*>(library.dli_fbase);
    char command[4200];
    // The address is that of the next instruction.
    snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%tx 2>/dev/null", library.dli_fname, offset - 1);
    FILE* answer = popen(command, "r");
    if (answer == nullptr) return {};
    Line found;
    char text[4200];
    while (fgets(text, sizeof text, answer) != nullptr) {
        const char* colon = strrchr(text, ':');
        if (!found.file.empty() || colon == nullptr || strstr(text, "/simt/kernel/") || text[0] == '?') continue;
        found.file.assign(text, colon - text);
        if (sscanf(colon + 1, "%u", &found.line) != 1) found = {};
    }
    pclose(answer);
    return found;
}

}  // namespace

SourceLine source_line(const void* code) {
    if (code == nullptr) return {};
    static std::map<const void*, Line> known;
    auto at = known.find(code);
    if (at == known.end()) at = known.emplace(code, ask(code)).first;
    if (at->second.file.empty()) return {};
    return {at->second.file.c_str(), at->second.line};
}

}  // namespace simt
