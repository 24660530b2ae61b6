#include "registers.h"

#include <algorithm>

#include "../kernel/sm90_runtime.h"
#include "collective.h"
#include "findings.h"

namespace simt {
namespace {

// The most registers of a thread; they are shared out in eights.
constexpr unsigned MOST = 255;
constexpr unsigned UNIT = 8;

// Of each warp, since the block's begin; 0: as many as at first.
unsigned registers_of[MAX_WARPS];
bool used;

unsigned at_first() { return std::min(MOST, REGISTERS / executor.threads) / UNIT * UNIT; }

template <bool INCREASE>
void change(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    used = true;
    unsigned& registers = registers_of[warp.index];
    const unsigned before = registers == 0 ? at_first() : registers;
    registers = warp.values[0];
    if (INCREASE ? registers >= before : registers <= before) return;
    const Lane& lane = warp.lanes[0];
    fail(SIMT_REGISTERS, &lane, {lane.code}, "%s its registers from %u to %u", INCREASE ? "increases" : "decreases",
         before, registers);
}

constexpr Operation INCREASE = {"setmaxnreg.inc", change<true>};
constexpr Operation DECREASE = {"setmaxnreg.dec", change<false>};

}  // namespace

void begin_registers() {
    if (!used) return;
    used = false;
    std::fill(registers_of, registers_of + MAX_WARPS, 0);
}

void check_registers_at_end() {
    if (!used) return;
    unsigned sum = 0;
    bool whole = true;
    for (unsigned warp = 0; warp * WARP_SIZE < executor.threads; warp++) {
        sum += (registers_of[warp] == 0 ? at_first() : registers_of[warp]) * WARP_SIZE;
        whole &= registers_of[warp] == registers_of[warp / WARPS_OF_GROUP * WARPS_OF_GROUP];
    }
    if (!whole) fail(SIMT_REGISTERS, nullptr, {}, "some warps of a warpgroup did not do its setmaxnreg");
    if (sum > REGISTERS) fail(SIMT_REGISTERS, nullptr, {}, "setmaxnreg asks for %u registers of %u", sum, REGISTERS);
}

Switch come_to_registers(unsigned count, bool increase) {
    const Lane& lane = *executor.current;
    lane.warp->values[lane.index] = count;
    return meet(increase ? INCREASE : DECREASE, ALL_LANES, __builtin_return_address(0));
}

}  // namespace simt
