// The state of the stand-in for the driver: devices, and what was made on them. All of it is behind one lock, and never
// destroyed, since threads may outlive main().
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "../executor/device_memory.h"
#include "../executor/launch.h"
#include "calls.h"
#include "cuda.h"
#include "order.h"
#include "work.h"

namespace driver {

// What devices differ in.
struct Model {
    int multiprocessors;
    // In kHz.
    int clock, memory_clock;
    int l2_cache;
    // Shared memory of a multiprocessor, and the most of a block.
    size_t shared_of_multiprocessor, most_shared;

    // What the driver takes for each block.
    static constexpr int RESERVED_SHARED = 1024;
};

// 10 · major + minor (SIMT_CAPABILITY); an H100 is 90, all others are told as an A100.
int capability();
const Model& model();

struct MemoryPool {
    CUdevice device;
    std::map<int, uint64_t> attributes;
};

struct Device {
    CUdevice ordinal;
    simt::DeviceMemory memory;
    Context* primary = nullptr;
    unsigned primary_uses = 0;
    MemoryPool default_pool;
    MemoryPool* pool = &default_pool;

    Device(CUdevice ordinal, size_t bytes) : ordinal(ordinal), memory(bytes), default_pool{ordinal, {}} {}
};

struct Graph {
    std::vector<Work> work;
};

struct GraphExec {
    std::vector<Work> work;
};

// A stream capture records work instead of running it: of the stream where it began, and of those that joined by
// events.
struct Capture {
    Graph* graph;
    Stream* origin;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    bool active = true;
    bool valid = true;
    std::set<Stream*> streams;
};

struct Stream {
    Context* context;
    bool is_default = false;
    std::shared_ptr<Capture> capture;
    // Counts the stream's captured work, to know where in it an event lies.
    uint64_t position = 0;
    // Up to which position another stream of the capture has waited for this one.
    uint64_t joined = 0;
    const uint64_t number = new_stream_number();
    // What is done before its next work, by this stream and by others.
    Clock passed;
};

struct Context {
    Device* device;
    bool primary = false;
    Stream default_stream;
};

struct Event {
    Context* context;
    bool has_time;
    bool recorded = false;
    std::chrono::steady_clock::time_point time;
    // What was before the last record.
    Clock passed;
    // Of the last record, if that was in a capture.
    std::shared_ptr<Capture> capture;
    Stream* stream = nullptr;
    uint64_t position = 0;
};

struct Function {
    Module* module;
    const simt::Kernel* kernel;
    size_t max_dynamic_shared;
};

struct Module {
    Context* context;
    // The kernels of a PTX image; empty for a cubin.
    std::set<std::string> entries;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

class Lock {
public:
    Lock();

private:
    std::lock_guard<std::mutex> guard_;
};

std::vector<std::unique_ptr<Device>>& devices();
Device* find_device(CUdevice ordinal);
// The device that the address belongs to, allocated or not.
Device* device_of(CUdeviceptr address);

// The thread's context; nullptr if it has none.
Context* current_context();

// CUDA_SUCCESS, or why a call that needs a context cannot be served.
CUresult need_context();

// Handles that were given out and not destroyed.
template <typename T>
std::set<T*>& handles() {
    static auto& all = *new std::set<T*>;
    return all;
}

template <typename T>
bool is_live(T* handle) {
    return handles<T>().count(handle) != 0;
}

template <typename T>
T* give_out(T* handle) {
    handles<T>().insert(handle);
    return handle;
}

template <typename T>
bool destroy(T* handle) {
    if (handles<T>().erase(handle) == 0) return false;
    delete handle;
    return true;
}

// A stream by its handle, the default stream's handles included; nullptr if there is none.
Stream* find_stream(CUstream handle);

// For calls that CUDA forbids while a stream is captured, as the capture's mode says: invalidates the capture.
CUresult forbid_in_capture();

// Runs work of a stream at once, or records it if the stream is captured.
CUresult submit(Stream& stream, Work work);

}  // namespace driver
