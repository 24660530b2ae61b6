#include "findings.h"

#include <cstdarg>
#include <cstdio>

#include "launch.h"
#include "mbarrier.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "symbols.h"

namespace simt {
namespace {

// A kernel with so many findings is broken throughout, and is given up.
constexpr uint64_t ENOUGH = 1000;

const char* name_of(SimtFinding finding) {
    switch (finding) {
        case SIMT_RACE: return "race";
        case SIMT_UNINITIALISED: return "uninitialised read";
        case SIMT_IN_FLIGHT: return "copy in flight";
        case SIMT_OUT_OF_BOUNDS: return "out of bounds";
        case SIMT_MISALIGNED: return "misaligned";
        case SIMT_BARRIER: return "divergent barrier";
        case SIMT_COLLECTIVE: return "divergent warp";
        case SIMT_CONFLICT: return "bank conflicts";
        case SIMT_UNDEFINED: return "undefined";
        case SIMT_UNORDERED: return "unordered access";
        case SIMT_MBARRIER: return "mbarrier";
        case SIMT_DEADLOCK: return "deadlock";
        case SIMT_TENSOR_MAP: return "tensor map";
        case SIMT_PENDING: return "pending";
        case SIMT_PROXY: return "missing proxy fence";
        case SIMT_REGISTERS: return "registers";
        case SIMT_OVERLAP: return "two writers";
        default: return "?";
    }
}

// Appends formatted text to a buffer, and drops what does not fit.
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

void describe_list(SimtFinding finding, const Lane* lane, Place place, const char* format, va_list arguments) {
    Text text(executor.report.message, sizeof executor.report.message);
    text.add("%s: %s: ", executor.launch->kernel->name, name_of(finding));
    // Bank conflicts are judged after the last block, when no thread is current.
    if (executor.current != nullptr) {
        const uint3 block = executor.block_index;
        text.add("block (%u, %u, %u)%s ", block.x, block.y, block.z, lane != nullptr ? "," : ":");
    }
    if (lane != nullptr) text.add("%s ", name_of_threads(lane->who).c_str());
    text.add_list(format, arguments);
    const SourceLine line = place.file != nullptr ? SourceLine{place.file, place.line} : source_line(place.code);
    if (line.file != nullptr) text.add(" [%s:%u]", line.file, line.line);
}

}  // namespace

bool count(SimtFinding finding) {
    SimtReport& report = executor.report;
    uint64_t before = 0;
    for (const uint64_t findings : report.findings) before += findings;
    report.findings[finding]++;
    if (before >= ENOUGH) give_up();
    return before == 0;
}

void describe(SimtFinding finding, const Lane* lane, Place place, const char* format, ...) {
    va_list arguments;
    va_start(arguments, format);
    describe_list(finding, lane, place, format, arguments);
    va_end(arguments);
}

void fail(SimtFinding finding, const Lane* lane, Place place, const char* format, ...) {
    if (count(finding)) {
        va_list arguments;
        va_start(arguments, format);
        describe_list(finding, lane, place, format, arguments);
        va_end(arguments);
    }
    give_up();
}

std::string summary(const SimtReport& report) {
    std::string words;
    for (int i = 0; i < SIMT_FINDINGS; i++) {
        if (report.findings[i] == 0) continue;
        if (!words.empty()) words += ", ";
        words += std::to_string(report.findings[i]) + " × " + name_of(SimtFinding(i));
    }
    return words;
}

namespace {

std::string name_of_agent(unsigned agent) {
    if (agent >= FIRST_WGMMA_AGENT) return "wgmma of warpgroup " + std::to_string(agent - FIRST_WGMMA_AGENT);
    if (agent >= FIRST_STORE_AGENT) return "a TMA store of warp " + std::to_string(agent - FIRST_STORE_AGENT);
    return "TMA, for the mbarrier at " + name_of_place(mbarrier(agent).address);
}

}  // namespace

std::string name_of_threads(uint16_t who) {
    const unsigned warp = who >> WHO_WARP_SHIFT;
    const unsigned lane = who % SEVERAL_LANES;
    if (warp == SEVERAL_WARPS >> WHO_WARP_SHIFT || who == LISTED) return "several threads";
    if (index_of(who) >= MAX_THREADS) return name_of_agent(index_of(who) - MAX_THREADS);
    if (who & SEVERAL_LANES) return "several threads of warp " + std::to_string(warp);
    const uint3 thread = executor.lanes[warp * WARP_SIZE + lane].thread_index;
    return "thread (" + std::to_string(thread.x) + ", " + std::to_string(thread.y) + ", " + std::to_string(thread.z) +
           ")";
}

}  // namespace simt
