#include "mbarrier.h"

#include <cstring>
#include <set>

#include "../kernel/sm90_runtime.h"
#include "findings.h"
#include "scheduler.h"
#include "shared_memory.h"

namespace simt {
namespace {

// The upper half of a barrier's 64 bits.
constexpr uint64_t MARK = 0x6d626172ull << 32;
// The hardware counts arrivals and bytes in 20 bits.
constexpr int64_t MOST = (1 << 20) - 1;

Mbarrier barriers[MAX_MBARRIERS];
unsigned barrier_count;

void check_bytes(const Mbarrier& barrier, const Lane& lane, const void* code) {
    if (barrier.arrivals_left == 0 && barrier.bytes_left < 0) {
        fail(SIMT_MBARRIER, &lane, {code}, "has TMA bring %lld bytes more than phase %u of the mbarrier at %s expects",
             -(long long)barrier.bytes_left, barrier.phase, name_of_place(barrier.address).c_str());
    }
    if (barrier.bytes_left > MOST || barrier.bytes_left < -MOST) {
        fail(SIMT_MBARRIER, &lane, {code}, "expects %lld bytes at once, more than an mbarrier counts",
             (long long)barrier.bytes_left);
    }
}

void acquire(Mbarrier& barrier, const Lane& lane) {
    clocks.acquire(lane, barrier.clock);
    barrier.phases_waited = barrier.phase;
}

void complete_phase(Mbarrier& barrier) {
    if (barrier.arrivals_left > 0 || barrier.bytes_left != 0) return;
    barrier.phase++;
    barrier.arrivals_left = barrier.arrivals;
    for (const Mbarrier::Waiter& waiter : barrier.waiters) {
        acquire(barrier, *waiter.lane);
        make_ready(*waiter.lane->warp, waiter.lane->bit);
    }
    barrier.waiters.clear();
}

}  // namespace

void begin_mbarriers() {
    for (unsigned i = 0; i < barrier_count; i++) barriers[i].waiters.clear();
    barrier_count = 0;
}

Mbarrier& mbarrier(unsigned number) { return barriers[number]; }

Mbarrier& find_mbarrier(const Lane& lane, const void* at, const void* code) {
    const auto address = reinterpret_cast<uintptr_t>(at);
    if (!shared_memory.contains(address)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "uses an mbarrier at %p, which is not shared memory", at);
    }
    if (address % sizeof(uint64_t) != 0) {
        fail(SIMT_MISALIGNED, &lane, {code}, "uses an mbarrier at %p, no multiple of 8", at);
    }
    uint64_t bits;
    memcpy(&bits, at, sizeof bits);
    const uint64_t number = bits ^ MARK;
    if (number >= barrier_count || barriers[number].address != address) {
        fail(SIMT_MBARRIER, &lane, {code}, "uses an mbarrier at %s that is not initialised, or overwritten",
             name_of_place(address).c_str());
    }
    Mbarrier& barrier = barriers[number];
    if (!is_ordered(barrier.init_time, barrier.initialiser, lane)) {
        fail(SIMT_MBARRIER, &lane, {code}, "uses the mbarrier at %s, which %s initialised, without a barrier between",
             name_of_place(address).c_str(), name_of_threads(barrier.initialiser).c_str());
    }
    return barrier;
}

void arrive_bytes(Mbarrier& barrier, unsigned bytes, uint32_t phase, const Lane& sender, const void* code) {
    if (phase != barrier.phase) {
        fail(SIMT_MBARRIER, &sender, {code},
             "has TMA bring %u bytes to phase %u of the mbarrier at %s, which was complete without them: it expected "
             "fewer",
             bytes, phase, name_of_place(barrier.address).c_str());
    }
    barrier.bytes_left -= bytes;
    check_bytes(barrier, sender, code);
    complete_phase(barrier);
}

void check_loads_at_end() {
    for (unsigned i = 0; i < barrier_count; i++) {
        const Mbarrier& barrier = barriers[i];
        if (barrier.phases_loaded <= barrier.phases_waited) continue;
        fail(SIMT_PENDING, barrier.loader, {barrier.load_code},
             "loads by TMA, and the block ends without having waited for phase %u of the mbarrier at %s",
             barrier.phases_loaded - 1, name_of_place(barrier.address).c_str());
    }
}

std::string mbarrier_waits() {
    std::string words;
    for (unsigned i = 0; i < barrier_count; i++) {
        const Mbarrier& barrier = barriers[i];
        if (barrier.waiters.empty()) continue;
        std::set<unsigned> warps;
        for (const Mbarrier::Waiter& waiter : barrier.waiters) warps.insert(waiter.lane->warp->index);
        words += (words.empty() ? "" : "; ") + std::to_string(barrier.waiters.size()) + " threads of warps";
        for (const unsigned warp : warps) words += " " + std::to_string(warp);
        words += " wait for parity " + std::to_string(barrier.phase % 2) + " of the mbarrier at " +
                 name_of_place(barrier.address) + ", in phase " + std::to_string(barrier.phase) + " with " +
                 std::to_string(barrier.arrivals_left) + " of " + std::to_string(barrier.arrivals) + " arrivals and " +
                 std::to_string(barrier.bytes_left) + " bytes left";
    }
    return words;
}

const void* mbarrier_place() {
    for (unsigned i = 0; i < barrier_count; i++) {
        if (!barriers[i].waiters.empty()) return barriers[i].waiters.front().code;
    }
    return nullptr;
}

void init_mbarrier(void* at, unsigned arrivals) {
    const void* const code = __builtin_return_address(0);
    Lane& lane = *executor.current;
    const auto address = reinterpret_cast<uintptr_t>(at);
    clocks.use();
    if (!shared_memory.contains(address) || address % sizeof(uint64_t) != 0) {
        fail(SIMT_MISALIGNED, &lane, {code}, "initialises an mbarrier at %p, no multiple of 8 in shared memory", at);
    }
    if (arrivals == 0 || arrivals > MOST) {
        fail(SIMT_MBARRIER, &lane, {code}, "initialises an mbarrier with %u arrivals", arrivals);
    }
    unsigned number = 0;
    while (number < barrier_count && barriers[number].address != address) number++;
    if (number == MAX_MBARRIERS) {
        fail(SIMT_MBARRIER, &lane, {code}, "initialises more mbarriers than the executor has, %u", MAX_MBARRIERS);
    }
    if (number == barrier_count) barrier_count++;
    Mbarrier& barrier = barriers[number];
    if (!barrier.waiters.empty()) {
        fail(SIMT_MBARRIER, &lane, {code}, "initialises the mbarrier at %s while threads wait for it",
             name_of_place(address).c_str());
    }
    shared_memory.access<sizeof(uint64_t), Access::WRITE>(lane, address, code);
    const uint64_t bits = MARK ^ number;
    memcpy(at, &bits, sizeof bits);
    barrier.address = address;
    barrier.number = number;
    barrier.initialiser = lane.who;
    barrier.init_time = executor.now;
    barrier.fenced = false;
    barrier.arrivals = barrier.arrivals_left = arrivals;
    barrier.bytes_left = 0;
    barrier.phase = 0;
    barrier.phases_loaded = barrier.phases_waited = 0;
}

void fence_mbarrier_init() {
    for (unsigned i = 0; i < barrier_count; i++) {
        if (barriers[i].initialiser == executor.current->who) barriers[i].fenced = true;
    }
}

void arrive(void* at, unsigned expected_bytes) {
    const void* const code = __builtin_return_address(0);
    Lane& lane = *executor.current;
    Mbarrier& barrier = find_mbarrier(lane, at, code);
    if (barrier.arrivals_left == 0) {
        fail(SIMT_MBARRIER, &lane, {code}, "is one more than the %u arrivals of phase %u of the mbarrier at %s",
             barrier.arrivals, barrier.phase, name_of_place(barrier.address).c_str());
    }
    clocks.release(lane, barrier.clock);
    barrier.bytes_left += expected_bytes;
    barrier.arrivals_left--;
    check_bytes(barrier, lane, code);
    complete_phase(barrier);
}

Switch come_to_mbarrier(void* at, unsigned parity) {
    const void* const code = __builtin_return_address(0);
    Lane& lane = *executor.current;
    Mbarrier& barrier = find_mbarrier(lane, at, code);
    if (parity > 1) fail(SIMT_MBARRIER, &lane, {code}, "waits for the parity %u", parity);
    if (barrier.phase % 2 != parity) {
        acquire(barrier, lane);
        return STAY;
    }
    barrier.waiters.push_back({&lane, code});
    return stop();
}

}  // namespace simt
