#include "findings.h"

#include <cstdarg>
#include <cstdio>

#include "launch.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "source_line.h"

namespace simt {
namespace {

// A kernel with this many is broken throughout: no need to see it through.
constexpr uint64_t ENOUGH = 1000;

// Words in a row, as many as there is room for.
class Text {
public:
    Text(char* begin, size_t bytes) : at_(begin), left_(bytes) {}

    __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
        va_list arguments;
        va_start(arguments, format);
        add_list(format, arguments);
        va_end(arguments);
    }

    void add_list(const char* format, va_list arguments) {
        const size_t count = vsnprintf(at_, left_, format, arguments);
        const size_t added = count < left_ ? count : left_ - 1;
        at_ += added;
        left_ -= added;
    }

private:
    char* at_;
    size_t left_;
};

void note_words(SimtFinding finding, const Lane* lane, Place place, const char* format, va_list arguments) {
    SimtReport& report = executor.report;
    uint64_t before = 0;
    for (const uint64_t count : report.findings) before += count;
    report.findings[finding]++;
    if (before >= ENOUGH) give_up();
    if (before > 0) return;
    Text text(report.message, sizeof report.message);
    const uint3 block = executor.block_index;
    text.add("%s: %s: block (%u, %u, %u)", executor.launch->kernel->name, name_of(finding), block.x, block.y, block.z);
    if (lane != nullptr) {
        text.add(", %s ", name_of_threads(lane->who).text);
    } else {
        text.add(": ");
    }
    text.add_list(format, arguments);
    const SourceLine line = place.file != nullptr ? SourceLine{place.file, place.line} : source_line(place.code);
    if (line.file != nullptr) text.add(" [%s:%u]", line.file, line.line);
}

}  // namespace

void note(SimtFinding finding, const Lane* lane, Place place, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note_words(finding, lane, place, format, arguments);
    va_end(arguments);
}

void fail(SimtFinding finding, const Lane* lane, Place place, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    note_words(finding, lane, place, format, arguments);
    va_end(arguments);
    give_up();
}

const char* name_of(SimtFinding finding) {
    switch (finding) {
        case SIMT_RACE: return "race";
        case SIMT_UNINITIALISED: return "uninitialised read";
        case SIMT_IN_FLIGHT: return "cp.async in flight";
        case SIMT_OUT_OF_BOUNDS: return "out of bounds";
        case SIMT_MISALIGNED: return "misaligned";
        case SIMT_BARRIER: return "divergent barrier";
        case SIMT_COLLECTIVE: return "divergent warp";
        case SIMT_CONFLICT: return "bank conflicts";
        case SIMT_UNDEFINED: return "undefined";
        default: return "?";
    }
}

Words name_of_threads(uint16_t who) {
    Words words;
    const unsigned warp = who >> WHO_WARP_SHIFT;
    const unsigned lane = who % SEVERAL_LANES;
    if (warp == SEVERAL_WARPS >> WHO_WARP_SHIFT) {
        snprintf(words.text, sizeof words.text, "several threads");
    } else if (who & SEVERAL_LANES) {
        snprintf(words.text, sizeof words.text, "several threads of warp %u", warp);
    } else {
        const uint3 thread = executor.lanes[warp * WARP_SIZE + lane].thread_index;
        snprintf(words.text, sizeof words.text, "thread (%u, %u, %u)", thread.x, thread.y, thread.z);
    }
    return words;
}

}  // namespace simt
