// setmaxnreg: how the warpgroups of a block share its registers.
//
// A block begins with an equal share for each thread. Executed by all warps of a warpgroup, the instruction takes or
// gives; the executor keeps count, and looks at the sum when the block ends.
#pragma once

namespace simt {

void begin_registers();
void check_registers_at_end();

}  // namespace simt
