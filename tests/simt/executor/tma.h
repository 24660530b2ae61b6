// TMA: boxes on their way between global and shared memory.
//
// A load's bytes are garbage from its start until they arrive: when nothing else can run, and in random order now and
// then before. A store reads shared memory as late as it may: when its thread waits for that. So what a kernel does too
// early shows in the results, too, not only in the checks.
//
//   load    issued ──▶ under way ──▶ arrives, its mbarrier counts the bytes
//   store   issued ──▶ in the thread's open group ──commit──▶ under way ──wait──▶ read, and written to global memory
#pragma once

#include "block.h"

namespace simt {

void begin_transfers();

// Lets a load arrive, which one the order says; false if none is under way.
bool let_load_arrive();

// An error if a thread ends with stores that it has not waited for.
void check_stores_at_end(const Lane& lane);

}  // namespace simt
