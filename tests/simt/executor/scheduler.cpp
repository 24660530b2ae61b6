#include "scheduler.h"

#include "../kernel/threads.h"
#include "../kernel/warp.h"
#include "clocks.h"
#include "collective.h"
#include "findings.h"
#include "launch.h"
#include "mbarrier.h"
#include "named_barrier.h"
#include "registers.h"
#include "shared_memory.h"
#include "stacks.h"
#include "tma.h"
#include "wgmma.h"

namespace simt {

Executor executor;

namespace {

void* host_stack_pointer;
bool gave_up;

unsigned pick(uint32_t set) {
    switch (executor.order) {
        case Order::FORWARD: return __builtin_ctz(set);
        case Order::REVERSE: return 31 - __builtin_clz(set);
        default: {
            const unsigned turn = random_number() % 32;
            return (__builtin_ctz(set >> turn | set << (32 - turn) % 32) + turn) % 32;
        }
    }
}

[[noreturn]] void fail_deadlock() {
    unsigned at_collectives = 0;
    const Operation* operation = nullptr;
    for (unsigned first = 0; first < executor.threads; first += WARP_SIZE) {
        const Warp& warp = executor.warps[first / WARP_SIZE];
        at_collectives += __builtin_popcount(warp.at_collective);
        if (warp.at_collective != 0 && operation == nullptr) operation = warp.operation;
    }
    std::string waits;
    for (const std::string& some : {mbarrier_waits(), named_barrier_waits(), wgmma.waits()}) {
        if (!some.empty()) waits += some + "; ";
    }
    if (!waits.empty()) {
        fail(SIMT_DEADLOCK, nullptr, {mbarrier_place()}, "%s%u threads are at %s, %u at a barrier, %u have exited",
             waits.c_str(), at_collectives, operation ? operation->name : "collectives", executor.waiting,
             executor.threads - executor.alive);
    }
    if (executor.waiting == 0) {
        fail(SIMT_COLLECTIVE, nullptr, {}, "%u threads wait at %s for lanes that never come", at_collectives,
             operation->name);
    }
    fail(SIMT_BARRIER, nullptr, executor.barrier, "%u of %u threads wait at a barrier, %u at %s, %u have exited",
         executor.waiting, executor.threads, at_collectives, operation ? operation->name : "no collective",
         executor.threads - executor.alive);
}

Switch end_thread() {
    Lane& lane = *executor.current;
    Warp& warp = *lane.warp;
    lane.copies.clear();
    check_stores_at_end(lane);
    wgmma.check_at_end(lane);
    warp.alive &= ~lane.bit;
    executor.alive--;
    if (executor.alive == 0) {
        check_loads_at_end();
        check_registers_at_end();
    }
    if (executor.alive > 0) {
        if (executor.waiting == executor.alive) {
            fail(SIMT_BARRIER, nullptr, executor.barrier, "only %u of %u threads reach a barrier, the others exit",
                 executor.waiting, executor.threads);
        }
        complete_without_exited(warp);
    }
    lane.in_kernel = false;
    return executor.alive > 0 ? stop() : Switch{&lane.stack_pointer, host_stack_pointer};
}

// What each fiber runs: one thread of each block.
void thread_main() {
    for (;;) {
        executor.current->in_kernel = true;
        executor.launch->kernel->call(executor.launch->arguments);
        go(end_thread());
    }
}

void begin_warps() {
    for (unsigned first = 0; first < executor.threads; first += WARP_SIZE) {
        Warp& warp = executor.warps[first / WARP_SIZE];
        const unsigned lanes = executor.threads - first;
        warp.alive = lanes < WARP_SIZE ? (1u << lanes) - 1 : ALL_LANES;
        warp.ready = warp.at_barrier = warp.at_collective = 0;
        warp.sync_time = executor.now;
        warp.fence_time = 0;
        warp.pending_products = 0;
        warp.index = first / WARP_SIZE;
        warp.lanes = &executor.lanes[first];
        make_ready(warp, warp.alive);
    }
}

void begin_lanes() {
    const dim3 size = executor.launch->block;
    uint3 index = {0, 0, 0};
    for (unsigned thread = 0; thread < executor.threads; thread++) {
        Lane& lane = executor.lanes[thread];
        lane.thread_index = index;
        if (++index.x == size.x) index.x = 0, index.y++;
        if (index.y == size.y) index.y = 0, index.z++;
        // A fiber serves block after block, unless it is new, or a launch that was given up left it inside a kernel.
        if (lane.stack_pointer != nullptr && !lane.in_kernel) continue;
        lane.index = thread % WARP_SIZE;
        lane.bit = 1u << lane.index;
        lane.warp = &executor.warps[thread / WARP_SIZE];
        lane.who = thread / WARP_SIZE << WHO_WARP_SHIFT | lane.index;
        lane.in_kernel = false;
        lane.copies.clear();
        lane.stack_pointer = stacks.begin(thread, thread_main);
    }
}

}  // namespace

uint32_t random_number() {
    uint64_t& x = executor.random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x >> 32;
}

Lane& choose_lane(Warp& current) {
    Warp* warp = &current;
    const bool leave = executor.order == Order::RANDOM && random_number() % 8 == 0;
    if (leave) let_load_arrive();
    while (warp->ready == 0 || (leave && warp == &current)) {
        executor.ready_warps &= warp->ready == 0 ? ~(1u << warp->index) : ALL_LANES;
        if (executor.ready_warps == 0) {
            if (!let_load_arrive()) fail_deadlock();
            continue;
        }
        warp = &executor.warps[pick(executor.ready_warps)];
        if (warp == &current && warp->ready != 0) break;
    }
    Lane& lane = warp->lanes[pick(warp->ready)];
    warp->ready &= ~lane.bit;
    return lane;
}

void give_up() {
    gave_up = true;
    // This fiber does not go on, even if its thread was at its end.
    executor.current->in_kernel = true;
    void* abandoned;
    go({&abandoned, host_stack_pointer});
    __builtin_unreachable();
}

bool run_block() {
    const dim3 size = executor.launch->block;
    executor.threads = executor.alive = size.x * size.y * size.z;
    executor.waiting = 0;
    executor.ready_warps = 0;
    executor.barrier_time = ++executor.now;
    shared_memory.begin_block(executor.now, executor.launch->shared_bytes);
    clocks.begin_block();
    begin_mbarriers();
    begin_named_barriers();
    begin_transfers();
    begin_registers();
    wgmma.begin_block();
    begin_warps();
    begin_lanes();

    gave_up = false;
    Lane& first = choose_lane(executor.warps[pick(executor.ready_warps)]);
    executor.current = &first;
    go({&host_stack_pointer, first.stack_pointer});
    executor.current = nullptr;
    return !gave_up;
}

uint3 thread_index() { return executor.current->thread_index; }
uint3 block_index() { return executor.block_index; }
dim3 block_size() { return executor.launch->block; }
dim3 grid_size() { return executor.launch->grid; }
unsigned lane_index() { return executor.current->index; }

Switch come_to_barrier(const char* file, int line) {
    Lane& lane = *executor.current;
    const Place here = {nullptr, file, unsigned(line)};
    if (executor.waiting == 0) {
        executor.barrier = here;
    } else if (executor.barrier.file != file || executor.barrier.line != here.line) {
        fail(SIMT_BARRIER, &lane, here, "is at this barrier while %u threads are at that of line %u", executor.waiting,
             executor.barrier.line);
    }
    lane.warp->at_barrier |= lane.bit;
    executor.waiting++;
    if (executor.waiting < executor.alive) return stop();
    if (executor.alive < executor.threads) {
        fail(SIMT_BARRIER, &lane, here, "is at a barrier that only %u of %u threads reach: the others have exited",
             executor.alive, executor.threads);
    }
    executor.report.barriers++;
    executor.waiting = 0;
    executor.barrier_time = ++executor.now;
    if (clocks.on()) clocks.merge_block();
    for (unsigned first = 0; first < executor.threads; first += WARP_SIZE) {
        Warp& warp = executor.warps[first / WARP_SIZE];
        make_ready(warp, warp.at_barrier);
        warp.at_barrier = 0;
    }
    return stop();
}

}  // namespace simt
