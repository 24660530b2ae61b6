#include "order.h"

#include <cstdio>
#include <cstring>
#include <list>
#include <vector>

#include "state.h"

namespace driver {
namespace {

bool covers(const Clock& clock, const Clock& other) {
    for (const auto& [stream, position] : other) {
        const auto known = clock.find(stream);
        if (known == clock.end() || known->second < position) return false;
    }
    return true;
}

Clock& host() {
    static auto& clock = *new Clock;
    return clock;
}

// What streams have done with an allocation since it was last written.
struct Uses {
    Clock written, read, launched;
};

std::map<CUdeviceptr, Uses>& all_uses() {
    static auto& all = *new std::map<CUdeviceptr, Uses>;
    return all;
}

// A copy from or to pinned memory that the host does not know to be done.
struct InFlight {
    CUdeviceptr at;
    bool to_host;
    // The bytes that were uploaded, or that are to arrive.
    std::vector<unsigned char> bytes;
    Clock done;

    bool overlaps(CUdeviceptr other, size_t size) const { return at < other + size && other < at + bytes.size(); }
    bool is_unchanged() const { return memcmp(reinterpret_cast<void*>(at), bytes.data(), bytes.size()) == 0; }
};

std::list<InFlight>& in_flight() {
    static auto& all = *new std::list<InFlight>;
    return all;
}

std::map<CUdeviceptr, size_t>& pinned() {
    static auto& all = *new std::map<CUdeviceptr, size_t>;
    return all;
}

CUresult found(const char* what) {
    fprintf(stderr, "simt: order: %s\n", what);
    return CUDA_ERROR_LAUNCH_FAILED;
}

CUresult finish(const InFlight& copy) {
    if (copy.to_host) {
        memcpy(reinterpret_cast<void*>(copy.at), copy.bytes.data(), copy.bytes.size());
    } else if (!copy.is_unchanged()) {
        return found("pinned memory was written to while a copy from it could be under way");
    }
    return CUDA_SUCCESS;
}

// Finishes the copies of these bytes that are known to be done. That another one overlaps is an error, unless both only
// read.
CUresult settle(CUdeviceptr at, size_t bytes, const Clock& passed, bool reads) {
    CUresult result = CUDA_SUCCESS;
    in_flight().remove_if([&](const InFlight& copy) {
        if (!copy.overlaps(at, bytes)) return false;
        const bool done = covers(passed, copy.done);
        CUresult error = CUDA_SUCCESS;
        if (done || (reads && !copy.to_host)) {
            error = done || !copy.is_unchanged() ? finish(copy) : CUDA_SUCCESS;
        } else {
            error = found("pinned memory is used while a copy to or from it could be under way");
        }
        if (error != CUDA_SUCCESS) result = error;
        return done || error != CUDA_SUCCESS;
    });
    return result;
}

Clock now(const Stream& stream) { return {{stream.number, stream.passed.at(stream.number)}}; }

}  // namespace

void merge(Clock& into, const Clock& from) {
    for (const auto& [stream, position] : from) {
        if (into[stream] < position) into[stream] = position;
    }
}

uint64_t new_stream_number() {
    static uint64_t last;
    return ++last;
}

void begin_work(Stream& stream) {
    merge(stream.passed, host());
    stream.passed[stream.number]++;
}

bool host_knows(const Clock& passed) { return covers(host(), passed); }

CUresult host_waits(const Clock& passed) {
    merge(host(), passed);
    CUresult result = CUDA_SUCCESS;
    in_flight().remove_if([&](const InFlight& copy) {
        if (!covers(host(), copy.done)) return false;
        if (const CUresult error = finish(copy)) result = error;
        return true;
    });
    return result;
}

CUresult use(const Stream& stream, CUdeviceptr address, Use how) {
    uintptr_t allocation;
    size_t bytes;
    const Device* device = device_of(address);
    if (device == nullptr || !device->memory.find(address, &allocation, &bytes)) return CUDA_SUCCESS;
    Uses& uses = all_uses()[allocation];
    const Clock& passed = stream.passed;
    if (how == Use::LAUNCH) {
        merge(uses.launched, now(stream));
        return CUDA_SUCCESS;
    }
    if (!covers(passed, uses.written)) return found("memory is used that another stream may not have written yet");
    if (!covers(passed, uses.launched)) return found("memory is used that a kernel of another stream may be using");
    if (how == Use::READ) {
        merge(uses.read, now(stream));
        return CUDA_SUCCESS;
    }
    if (!covers(passed, uses.read)) return found("memory is written that another stream may be reading");
    uses = {now(stream), {}, {}};
    return CUDA_SUCCESS;
}

void forget_uses(CUdeviceptr allocation) { all_uses().erase(allocation); }

Hidden::Hidden(const Stream& stream, Device& device) : device_(device) {
    for (const auto& [allocation, uses] : all_uses()) {
        if (device.memory.contains(allocation) && !covers(stream.passed, uses.written)) device.memory.hide(allocation);
    }
}

Hidden::~Hidden() { device_.memory.show_all(); }

void pin(const void* memory, size_t bytes) { pinned()[CUdeviceptr(memory)] = bytes; }

bool is_pinned(CUdeviceptr address) {
    const auto after = pinned().upper_bound(address);
    if (after == pinned().begin()) return false;
    const auto& [begin, bytes] = *std::prev(after);
    return address - begin < bytes;
}

bool unpin(const void* memory, CUresult* result) {
    const auto at = pinned().find(CUdeviceptr(memory));
    if (at == pinned().end()) return false;
    *result = settle(at->first, at->second, host(), false);
    pinned().erase(at);
    return true;
}

CUresult upload_from_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    if (const CUresult error = settle(from, bytes, stream.passed, true)) return error;
    const auto* begin = reinterpret_cast<const unsigned char*>(from);
    in_flight().push_back({from, false, {begin, begin + bytes}, now(stream)});
    memcpy(reinterpret_cast<void*>(to), begin, bytes);
    return CUDA_SUCCESS;
}

CUresult download_to_pinned(const Stream& stream, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    if (const CUresult error = settle(to, bytes, stream.passed, false)) return error;
    const auto* begin = reinterpret_cast<const unsigned char*>(from);
    in_flight().push_back({to, true, {begin, begin + bytes}, now(stream)});
    // NaN until the copy arrives, so that an early read shows.
    memset(reinterpret_cast<void*>(to), 0xff, bytes);
    return CUDA_SUCCESS;
}

}  // namespace driver
