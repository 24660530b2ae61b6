#include "wgmma.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include "../kernel/sm90_runtime.h"
#include "clocks.h"
#include "collective.h"
#include "findings.h"
#include "wgmma_product.h"

namespace simt {
namespace {

constexpr uint32_t ALL_WARPS = (1 << WARPS_OF_GROUP) - 1;

struct Operands {
    unsigned columns;
    bool a_in_registers;
    uintptr_t a, b;

    bool operator==(const Operands& other) const {
        return columns == other.columns && a_in_registers == other.a_in_registers && a == other.a && b == other.b;
    }
};

struct Product {
    Operands operands;
    const void* code;
    uint32_t time;
    float* sums[WARPGROUP_SIZE];
    unsigned words[WARPGROUP_SIZE][4];
};

// Products are numbered from the block's begin.
struct Warpgroup {
    // The next product, as far as threads have come to it; and the warps that are all there.
    Product next;
    unsigned threads_there;
    uint32_t warps_there;
    uint64_t issued;
    uint64_t done;
    // Those that not all warps have waited for, up to the last.
    std::deque<Product> products;

    const Product& product(uint64_t number) const { return products[number - (issued - products.size())]; }
};

struct Groups {
    // Of each group that the warp committed, the number of products up to its end.
    std::vector<uint64_t> ends;
    size_t done;
    // The products that it waited for.
    uint64_t waited;
};

Warpgroup warpgroups[MAX_WARPGROUPS];
Groups groups_of[MAX_WARPS];
WideOperands wide;

Warpgroup& warpgroup_of(const Warp& warp) { return warpgroups[warp.index / WARPS_OF_GROUP]; }

unsigned index_in_group(const Lane& lane) { return lane.warp->index % WARPS_OF_GROUP * WARP_SIZE + lane.index; }

void check_address(const Lane& lane, uintptr_t address, unsigned rows, const char* operand, const void* code) {
    if (!shared_memory.contains(address) || !shared_memory.contains(address + rows * SLAB_ROW - SLAB_ROW)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "gives wgmma %#zx as its %s operand, which is not in shared memory",
             size_t(address), operand);
    }
    if (address % SLAB_PERIOD >= SLAB_ROW) {
        fail(SIMT_MISALIGNED, &lane, {code}, "gives wgmma %s as its %s operand: a slab begins at a multiple of %u",
             name_of_place(address).c_str(), operand, SLAB_PERIOD);
    }
}

// The tensor cores read each operand until the product is done. What they read must be there for every warp; its last
// lane stands for it, since it is mostly the first that does things alone.
void read_operands(const Warpgroup& group, const Product& product) {
    const unsigned index = &group - warpgroups;
    const auto& [columns, a_in_registers, a, b] = product.operands;
    const Lane* lanes[WARPS_OF_GROUP];
    for (unsigned warp = 0; warp < WARPS_OF_GROUP; warp++) {
        lanes[warp] = &executor.warps[index * WARPS_OF_GROUP + warp].lanes[WARP_SIZE - 1];
    }
    const Who agent = wgmma_agent(index);
    if (!a_in_registers) {
        check_address(*lanes[0], a, WGMMA_ROWS, "left", product.code);
        for (unsigned warp = 0; warp < WARPS_OF_GROUP; warp++) {
            AsyncRead read(&lanes[warp], 1, agent, product.time, product.code);
            read.allow_unwritten();
            const uintptr_t rows = a + warp * 16 * SLAB_ROW;
            for (unsigned row = 0; row < 16; row++) {
                read.line(swizzled(rows + row * SLAB_ROW));
                read.line(swizzled(rows + row * SLAB_ROW + 16));
            }
        }
    }
    AsyncRead read(lanes, WARPS_OF_GROUP, agent, product.time, product.code);
    const unsigned rows = a_in_registers ? WGMMA_DEPTH : columns;
    const unsigned bytes = (a_in_registers ? columns : WGMMA_DEPTH) * 2;
    check_address(*lanes[0], b, rows, "right", product.code);
    for (unsigned row = 0; row < rows; row++) {
        for (unsigned i = 0; i < bytes; i += 16) read.line(swizzled(b + row * SLAB_ROW + i));
    }
}

void issue(Warpgroup& group) {
    group.next.time = ++executor.now;
    executor.report.wgmma++;
    read_operands(group, group.next);
    group.products.push_back(group.next);
    group.issued++;
    const unsigned first = (&group - warpgroups) * WARPS_OF_GROUP;
    for (unsigned i = 0; i < WARPS_OF_GROUP; i++) executor.warps[first + i].pending_products++;
    group.threads_there = 0;
    group.warps_there = 0;
}

// Carries out products up to a number; those in a row with the same accumulators keep their sums at hand.
void carry_out(Warpgroup& group, uint64_t end) {
    while (group.done < end) {
        const Product& first = group.product(group.done);
        const unsigned columns = first.operands.columns;
        gather_sums(first.sums, columns, wide);
        for (; group.done < end; group.done++) {
            const Product& product = group.product(group.done);
            const Operands& operands = product.operands;
            if (product.sums[0] != first.sums[0] || operands.columns != columns) break;
            if (operands.a_in_registers) {
                widen_registers(product.words, wide);
                widen_b_rows(operands.b, columns, wide);
            } else {
                widen_a(operands.a, wide);
                widen_b(operands.b, columns, wide);
            }
            multiply(wide, columns);
        }
        scatter_sums(wide, columns, first.sums);
    }
}

void require_all_lanes(Warp& warp, uint32_t lanes) { require_all(warp, lanes); }

void commit(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    groups_of[warp.index].ends.push_back(warpgroup_of(warp).issued);
}

// The lanes gave, as a value each, how many groups may be pending.
void wait(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    Groups& groups = groups_of[warp.index];
    const unsigned may_be_pending = warp.values[0];
    if (groups.ends.size() - groups.done <= may_be_pending) return;
    groups.done = groups.ends.size() - may_be_pending;
    const uint64_t end = groups.ends[groups.done - 1];
    if (groups.done == groups.ends.size()) groups.ends.clear(), groups.done = 0;
    if (end <= groups.waited) return;
    Warpgroup& group = warpgroup_of(warp);
    carry_out(group, end);
    groups.waited = end;
    warp.pending_products = group.issued - end;
    const uint32_t time = group.product(end - 1).time + 1;
    for (unsigned i = 0; i < WARP_SIZE; i++) {
        clocks.learn(warp.lanes[i], wgmma_agent(warp.index / WARPS_OF_GROUP), time);
    }
    uint64_t least = end;
    const unsigned first = warp.index / WARPS_OF_GROUP * WARPS_OF_GROUP;
    for (unsigned i = 0; i < WARPS_OF_GROUP; i++) least = std::min(least, groups_of[first + i].waited);
    while (group.issued - group.products.size() < least) group.products.pop_front();
}

void fence(Warp& warp, uint32_t lanes) {
    require_all(warp, lanes);
    warp.fence_time = ++executor.now;
}

constexpr Operation PRODUCT = {"wgmma", require_all_lanes};
constexpr Operation COMMIT = {"wgmma_commit", commit};
constexpr Operation WAIT = {"wgmma_wait", wait};
constexpr Operation FENCE = {"wgmma_fence", fence};

void check_fence(const Lane& lane, const void* registers, size_t bytes, const char* what, const void* code) {
    if (lane.warp->fence_time == 0) {
        fail(SIMT_REGISTERS, &lane, {code}, "comes to wgmma without a wgmma_fence before");
    }
    if (wgmma.is_fenced(lane, registers, bytes)) return;
    if (count(SIMT_REGISTERS)) {
        describe(SIMT_REGISTERS, &lane, {code}, "comes to wgmma with %s that it wrote since its last wgmma_fence",
                 what);
    }
}

}  // namespace

Wgmma wgmma;

void Wgmma::clear() {
    if (stack_times_ != nullptr) madvise(stack_times_, stacks.bytes(), MADV_DONTNEED);
    memset(last_write_, 0, sizeof last_write_);
}

void Wgmma::begin_block() {
    if (!watches_stacks_) return;
    watches_stacks_ = false;
    for (Warpgroup& group : warpgroups) {
        group.threads_there = group.warps_there = 0;
        group.issued = group.done = 0;
        group.products.clear();
    }
    for (Groups& groups : groups_of) groups = {};
}

void Wgmma::use() {
    clocks.use();
    watches_stacks_ = true;
    if (stack_times_ != nullptr) return;
    void* times =
        mmap(nullptr, stacks.bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (times == MAP_FAILED) {
        perror("simt: shadow of the stacks");
        abort();
    }
    stack_times_ = static_cast<uint32_t*>(times);
}

bool Wgmma::is_fenced(const Lane& lane, const void* registers, size_t bytes) const {
    if (last_write_[index_of(lane.who)] < lane.warp->fence_time) return true;
    const uint32_t* times = stack_times_ + stacks.offset(reinterpret_cast<uintptr_t>(registers)) / 4;
    return std::all_of(times, times + bytes / 4, [&](uint32_t time) { return time < lane.warp->fence_time; });
}

void Wgmma::check_accumulators(const Lane& lane, uintptr_t address, size_t bytes, Access access, const void* code) {
    const Warpgroup& group = warpgroup_of(*lane.warp);
    const float* checked = nullptr;
    for (uint64_t i = groups_of[lane.warp->index].waited; i < group.issued; i++) {
        const Product& product = group.product(i);
        const float* sums = product.sums[index_in_group(lane)];
        if (sums == checked) continue;
        checked = sums;
        const auto begin = reinterpret_cast<uintptr_t>(sums);
        if (address >= begin + product.operands.columns / 2 * sizeof *sums || address + bytes <= begin) continue;
        if (count(SIMT_REGISTERS)) {
            describe(SIMT_REGISTERS, &lane, {code}, "%s accumulators of a wgmma that it has not waited for",
                     access == Access::READ ? "reads" : "writes");
        }
        return;
    }
}

void Wgmma::check_at_end(const Lane& lane) {
    if (lane.warp->pending_products == 0) return;
    const Product& product = warpgroup_of(*lane.warp).product(groups_of[lane.warp->index].waited);
    fail(SIMT_PENDING, &lane, {product.code}, "ends without having waited for this wgmma");
}

std::string Wgmma::waits() const {
    std::string words;
    for (unsigned index = 0; index < MAX_WARPGROUPS; index++) {
        if (warpgroups[index].warps_there == 0) continue;
        words += (words.empty() ? "" : "; ") + std::to_string(__builtin_popcount(warpgroups[index].warps_there)) +
                 " warps of warpgroup " + std::to_string(index) + " wait at wgmma for its others";
    }
    return words;
}

Switch come_to_wgmma_fence() {
    wgmma.use();
    return meet(FENCE, ALL_LANES, __builtin_return_address(0));
}

Switch come_to_wgmma(float* sums, unsigned columns, const unsigned* a, uint64_t descriptor_a, uint64_t descriptor_b) {
    const void* const code = __builtin_return_address(0);
    const Lane& lane = *executor.current;
    wgmma.use();
    const unsigned index = lane.warp->index / WARPS_OF_GROUP;
    if ((index + 1) * WARPGROUP_SIZE > executor.threads) {
        fail(SIMT_COLLECTIVE, &lane, {code}, "comes to wgmma in a warpgroup of less than %u threads", WARPGROUP_SIZE);
    }
    check_fence(lane, sums, columns / 2 * sizeof *sums, "accumulators", code);
    if (a != nullptr) check_fence(lane, a, 4 * sizeof *a, "an operand in registers", code);
    Warpgroup& group = warpgroups[index];
    Product& product = group.next;
    const Operands operands = {columns, a != nullptr, descriptor_a * 16, descriptor_b * 16};
    if (group.threads_there++ == 0) {
        product.operands = operands;
        product.code = code;
    } else if (!(product.operands == operands)) {
        fail(SIMT_COLLECTIVE, &lane, {code},
             "comes to wgmma with other operands than threads of its warpgroup before it");
    }
    product.sums[index_in_group(lane)] = sums;
    if (a != nullptr) memcpy(product.words[index_in_group(lane)], a, sizeof product.words[0]);

    Warp& warp = *lane.warp;
    const uint32_t lanes = arrive(PRODUCT, ALL_LANES, code);
    if (lanes == 0) return stop();
    complete(warp, PRODUCT, lanes);
    group.warps_there |= 1 << warp.index % WARPS_OF_GROUP;
    if (group.warps_there != ALL_WARPS) return stop();
    issue(group);
    for (unsigned i = 0; i < WARPS_OF_GROUP; i++) {
        Warp& other = executor.warps[index * WARPS_OF_GROUP + i];
        make_ready(other, &other == &warp ? ALL_LANES & ~lane.bit : ALL_LANES);
    }
    return STAY;
}

Switch come_to_wgmma_commit() { return meet(COMMIT, ALL_LANES, __builtin_return_address(0)); }

Switch come_to_wgmma_wait(unsigned groups_under_way) {
    const Lane& lane = *executor.current;
    lane.warp->values[lane.index] = groups_under_way;
    return meet(WAIT, ALL_LANES, __builtin_return_address(0));
}

}  // namespace simt
