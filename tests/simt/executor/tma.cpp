#include "tma.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../kernel/half.h"
#include "../kernel/sm90_runtime.h"
#include "async_groups.h"
#include "findings.h"
#include "global_access.h"
#include "global_writes.h"
#include "mbarrier.h"
#include "scheduler.h"
#include "tensor_map.h"

namespace simt {
namespace {

constexpr unsigned CHUNK = 16;
constexpr unsigned SHARED_ALIGNMENT = 128;

struct Transfer {
    TensorMap map;
    int at[3];
    unsigned char* shared;
    const Lane* lane;
    const void* code;
    // When it was issued.
    uint32_t time;
    // Of a load: its mbarrier, and the phase that counts its bytes.
    Mbarrier* barrier;
    uint32_t phase;
    // Of a store.
    bool add;

    unsigned bytes() const { return map.row_bytes() * map.rows(); }
};

std::vector<Transfer> loads;
// Of each thread.
AsyncGroups<Transfer> stores_of[MAX_THREADS];
bool stores_used;

AsyncGroups<Transfer>& stores(const Lane& lane) { return stores_of[index_of(lane.who)]; }

// The part of a box's row that is within the tensor: where it begins in the row and in global memory, and its bytes.
struct Piece {
    unsigned offset;
    uintptr_t address;
    unsigned bytes;
};

Piece piece_of_row(const Transfer& transfer, unsigned row) {
    const TensorMap& map = transfer.map;
    uintptr_t address = map.address;
    for (unsigned i = 1; i < map.rank; i++) {
        const int64_t at = int64_t(transfer.at[i]) + row % map.box[i];
        row /= map.box[i];
        if (at < 0 || at >= map.sizes[i]) return {0, 0, 0};
        address += at * map.strides[i - 1];
    }
    const int64_t x = transfer.at[0];
    const int64_t begin = x < 0 ? 0 : x;
    const int64_t end = std::min<int64_t>(x + map.box[0], map.sizes[0]);
    if (begin >= end) return {0, 0, 0};
    return {unsigned(begin - x) * map.element_bytes, address + begin * map.element_bytes,
            unsigned(end - begin) * map.element_bytes};
}

// Where 16 bytes of a box lie: the swizzle exchanges them within a row of 128 bytes by the row's number, both told from
// the address.
unsigned char* place(const Transfer& transfer, unsigned offset) {
    unsigned char* const linear = transfer.shared + offset;
    if (!transfer.map.swizzled) return linear;
    const auto address = reinterpret_cast<uintptr_t>(linear);
    return reinterpret_cast<unsigned char*>(address ^ (address >> 3 & 0x70));
}

void load_row(const Transfer& transfer, unsigned row) {
    unsigned char bytes[256 * 8] = {};
    const unsigned count = transfer.map.row_bytes();
    const Piece piece = piece_of_row(transfer, row);
    memcpy(bytes + piece.offset, reinterpret_cast<const void*>(piece.address), piece.bytes);
    for (unsigned i = 0; i < count; i += CHUNK) memcpy(place(transfer, row * count + i), bytes + i, CHUNK);
}

void add_elements(ElementType type, unsigned char* to, const unsigned char* from, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i += type == ElementType::F32 ? 4 : 2) {
        if (type == ElementType::F32) {
            float sum, addend;
            memcpy(&sum, to + i, 4);
            memcpy(&addend, from + i, 4);
            sum += addend;
            memcpy(to + i, &sum, 4);
        } else {
            uint16_t sum, addend;
            memcpy(&sum, to + i, 2);
            memcpy(&addend, from + i, 2);
            sum = type == ElementType::F16 ? float_to_half(half_to_float(sum) + half_to_float(addend))
                                           : float_to_bfloat16(bfloat16_to_float(sum) + bfloat16_to_float(addend));
            memcpy(to + i, &sum, 2);
        }
    }
}

void store_row(const Transfer& transfer, unsigned row) {
    unsigned char bytes[256 * 8];
    const unsigned count = transfer.map.row_bytes();
    const Piece piece = piece_of_row(transfer, row);
    for (unsigned i = 0; i < count; i += CHUNK) memcpy(bytes + i, place(transfer, row * count + i), CHUNK);
    auto* const to = reinterpret_cast<unsigned char*>(piece.address);
    if (transfer.add) {
        add_elements(transfer.map.type, to, bytes + piece.offset, piece.bytes);
    } else {
        memcpy(to, bytes + piece.offset, piece.bytes);
    }
}

// Checks what both directions ask for, and the global memory that is touched.
Transfer begin_transfer(const Lane& lane, const Box& box, void* shared, bool is_load, const void* code) {
    clocks.use();
    Transfer transfer = {};
    transfer.lane = &lane;
    transfer.code = code;
    if (reinterpret_cast<uintptr_t>(box.map) % TensorMap::ALIGNMENT != 0) {
        fail(SIMT_MISALIGNED, &lane, {code}, "gives TMA a tensor map at %p, no multiple of %zu", box.map,
             TensorMap::ALIGNMENT);
    }
    memcpy(&transfer.map, box.map, sizeof transfer.map);
    const TensorMap& map = transfer.map;
    if (map.mark != TensorMap::MARK) {
        fail(SIMT_TENSOR_MAP, &lane, {code}, "gives TMA a tensor map that cuTensorMapEncodeTiled did not write");
    }
    if (map.rank != box.rank) {
        fail(SIMT_TENSOR_MAP, &lane, {code}, "gives %u coordinates for a tensor map of %u dimensions", box.rank,
             map.rank);
    }
    memcpy(transfer.at, box.at, sizeof transfer.at);
    transfer.shared = static_cast<unsigned char*>(shared);
    const auto address = reinterpret_cast<uintptr_t>(shared);
    if (!shared_memory.contains(address)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "gives TMA %p, which is not shared memory", shared);
    }
    if (address % SHARED_ALIGNMENT != 0) {
        fail(SIMT_MISALIGNED, &lane, {code}, "gives TMA %s, no multiple of %u", name_of_place(address).c_str(),
             SHARED_ALIGNMENT);
    }
    if (!shared_memory.contains(address + transfer.bytes() - 1)) {
        fail(SIMT_OUT_OF_BOUNDS, &lane, {code}, "gives TMA a box that ends behind shared memory");
    }
    const Access access = is_load ? Access::READ : Access::WRITE;
    for (unsigned row = 0; row < map.rows(); row++) {
        const Piece piece = piece_of_row(transfer, row);
        if (piece.bytes > 0) check_global(lane, piece.address, piece.bytes, access, code);
    }
    return transfer;
}

void finish_load(const Transfer& load) {
    for (unsigned row = 0; row < load.map.rows(); row++) load_row(load, row);
    const Who agent = load_agent(load.barrier->number);
    shared_memory.end_load(reinterpret_cast<uintptr_t>(load.shared), load.bytes(), agent);
    load.barrier->clock.known[index_of(agent)] = ++executor.now;
    arrive_bytes(*load.barrier, load.bytes(), load.phase, *load.lane, load.code);
}

}  // namespace

void begin_transfers() {
    loads.clear();
    if (!stores_used) return;
    for (auto& stores : stores_of) stores.clear();
    stores_used = false;
}

bool let_load_arrive() {
    if (loads.empty()) return false;
    const size_t which = executor.order == Order::FORWARD   ? 0
                         : executor.order == Order::REVERSE ? loads.size() - 1
                                                            : random_number() % loads.size();
    const Transfer load = loads[which];
    loads.erase(loads.begin() + which);
    finish_load(load);
    return true;
}

void check_stores_at_end(const Lane& lane) {
    const Transfer* const first = stores(lane).first_under_way();
    if (first == nullptr) return;
    fail(SIMT_PENDING, &lane, {first->code}, "ends without having waited for its TMA store from %s",
         name_of_place(reinterpret_cast<uintptr_t>(first->shared)).c_str());
}

void load_box(void* to, Box box, void* at) {
    const void* const code = __builtin_return_address(0);
    const Lane& lane = *executor.current;
    Mbarrier& barrier = find_mbarrier(lane, at, code);
    if (!barrier.fenced) {
        fail(SIMT_PROXY, &lane, {code}, "gives TMA the mbarrier at %s, which no mbarrier_init_fence made visible to it",
             name_of_place(barrier.address).c_str());
    }
    Transfer load = begin_transfer(lane, box, to, true, code);
    load.barrier = &barrier;
    load.phase = barrier.phase;
    shared_memory.begin_load(lane, reinterpret_cast<uintptr_t>(to), load.bytes(), load_agent(barrier.number), code);
    barrier.phases_loaded = barrier.phase + 1;
    barrier.loader = &lane;
    barrier.load_code = code;
    loads.push_back(load);
}

void store_box(Box box, const void* from, bool add) {
    const void* const code = __builtin_return_address(0);
    const Lane& lane = *executor.current;
    Transfer store = begin_transfer(lane, box, const_cast<void*>(from), false, code);
    store.add = add;
    if (add && store.map.type == ElementType::BITS) {
        fail(SIMT_TENSOR_MAP, &lane, {code}, "adds by TMA to elements that are neither f32 nor f16 nor bf16");
    }
    store.time = ++executor.now;
    const Lane* const lanes[] = {&lane};
    AsyncRead read(lanes, 1, store_agent(lane.warp->index), store.time, code);
    const unsigned row_bytes = store.map.row_bytes();
    for (unsigned row = 0; row < store.map.rows(); row++) {
        const Piece piece = piece_of_row(store, row);
        if (piece.bytes == 0) continue;
        for (unsigned i = piece.offset / CHUNK * CHUNK; i < piece.offset + piece.bytes; i += CHUNK) {
            read.line(reinterpret_cast<uintptr_t>(place(store, row * row_bytes + i)));
        }
        global_writes.transfer(lane, piece.address, piece.bytes, add, code);
    }
    stores(lane).start(store);
    stores_used = true;
}

void commit_stores() { stores(*executor.current).commit(); }

void wait_for_stores(unsigned groups_under_way) {
    const Lane& lane = *executor.current;
    stores(lane).wait(groups_under_way, [&](const Transfer& store) {
        for (unsigned row = 0; row < store.map.rows(); row++) store_row(store, row);
        clocks.learn(lane, store_agent(lane.warp->index), store.time + 1);
    });
}

void fence_proxy() {
    clocks.use();
    clocks.fence(*executor.current);
}

}  // namespace simt
