#include "launch.h"

#include <strings.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "clocks.h"
#include "findings.h"
#include "global_writes.h"
#include "scheduler.h"
#include "shared_memory.h"
#include "wgmma.h"

namespace simt {
namespace {

// Filled while the library is loaded, in any order.
std::vector<const Kernel*>& kernels() {
    static std::vector<const Kernel*> all;
    return all;
}

uint64_t launches;

// SIMT_ORDER, or the three in turn.
Order choose_order() {
    const char* name = getenv("SIMT_ORDER");
    if (name == nullptr || *name == 0) return Order(launches % 3);
    if (strcasecmp(name, "forward") == 0) return Order::FORWARD;
    if (strcasecmp(name, "reverse") == 0) return Order::REVERSE;
    return Order::RANDOM;
}

const char* name_of(Order order) {
    return order == Order::FORWARD ? "forward" : order == Order::REVERSE ? "reverse" : "random";
}

// Forward, in reverse or at random, as the threads are; a stride that is coprime to the number of blocks visits each.
class BlockOrder {
public:
    BlockOrder(uint64_t count, Order order, uint64_t random) : count_(count) {
        if (order == Order::REVERSE) start_ = count - 1, stride_ = count - 1;
        if (order == Order::RANDOM) {
            start_ = random % count;
            stride_ = random / count % count;
            while (greatest_common_divisor(stride_, count) != 1) stride_++;
        }
    }

    uint64_t operator[](uint64_t i) const {
        return static_cast<uint64_t>((start_ + static_cast<unsigned __int128>(i) * stride_) % count_);
    }

private:
    static uint64_t greatest_common_divisor(uint64_t a, uint64_t b) {
        return b == 0 ? a : greatest_common_divisor(b, a % b);
    }

    uint64_t count_;
    uint64_t start_ = 0;
    uint64_t stride_ = 1;
};

// Clears what remembers times before the clock overflows.
void begin_times() {
    if (executor.now < 1u << 31) return;
    shared_memory.clear();
    clocks.clear();
    wgmma.clear();
    executor.now = 1;
}

void check_conflicts() {
    const char* limit = getenv("SIMT_MAX_LDMATRIX_CONFLICT");
    const SimtReport& report = executor.report;
    if (limit == nullptr || report.ldmatrix_matrices == 0) return;
    const double average = double(report.ldmatrix_cycles) / report.ldmatrix_matrices;
    if (average <= atof(limit)) return;
    if (count(SIMT_CONFLICT)) describe(SIMT_CONFLICT, nullptr, {}, "ldmatrix takes %.2f cycles a matrix", average);
}

void trace(const Launch& launch, double seconds) {
    const SimtReport& report = executor.report;
    fprintf(stderr,
            "simt: %s grid %u×%u×%u block %u×%u×%u shared %zu: %.3f ms, %s, mma %llu, wgmma %llu, ldmatrix %llu at "
            "%.2f cycles, barriers %llu, read %llu, written %llu bytes\n",
            launch.kernel->name, launch.grid.x, launch.grid.y, launch.grid.z, launch.block.x, launch.block.y,
            launch.block.z, launch.shared_bytes, seconds * 1e3, name_of(executor.order), (unsigned long long)report.mma,
            (unsigned long long)report.wgmma,
            (unsigned long long)report.ldmatrix_matrices,
            report.ldmatrix_matrices == 0 ? 0 : double(report.ldmatrix_cycles) / report.ldmatrix_matrices,
            (unsigned long long)report.barriers, (unsigned long long)report.global_bytes_read,
            (unsigned long long)report.global_bytes_written);
}

}  // namespace

void register_kernel(const Kernel& kernel) {
    if (find_kernel(kernel.name) != nullptr) {
        fprintf(stderr, "simt: two kernels are called %s\n", kernel.name);
        abort();
    }
    kernels().push_back(&kernel);
}

const Kernel* find_kernel(const char* name) {
    for (const Kernel* kernel : kernels()) {
        if (strcmp(kernel->name, name) == 0) return kernel;
    }
    return nullptr;
}

bool run(const Launch& launch, DeviceMemory& memory) {
    const auto begin = std::chrono::steady_clock::now();
    launches++;
    memset(&executor.report, 0, sizeof executor.report);
    executor.order = choose_order();
    executor.random = launches * 0x9e3779b97f4a7c15;
    executor.launch = &launch;
    executor.memory = &memory;
    begin_times();
    global_writes.begin_launch();

    const uint64_t count = uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
    const BlockOrder blocks(count, executor.order, executor.random);
    bool whole = true;
    for (uint64_t i = 0; i < count && whole; i++) {
        const uint64_t block = blocks[i];
        executor.block_index = {unsigned(block % launch.grid.x), unsigned(block / launch.grid.x % launch.grid.y),
                                unsigned(block / launch.grid.x / launch.grid.y)};
        global_writes.begin_block();
        whole = run_block();
    }
    if (whole) check_conflicts();
    if (getenv("SIMT_TRACE") != nullptr) {
        trace(launch, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    const std::string findings = summary(executor.report);
    if (findings.empty()) return true;
    fprintf(stderr, "simt: %s (%s order: %s)\n", executor.report.message, name_of(executor.order), findings.c_str());
    return false;
}

}  // namespace simt
