// Tests of the executor's checks. Usage: self_test LIBRARY PLANT
//
// Without a planted bug: right kernels give the right results in every order and nothing is found, and each wrong
// kernel of test_kernels/faults.cu is found out for what it is. With one (test_kernels/plants.cuh): the check that
// should find it does, in every order.
#include <chrono>
#include <cmath>
#include <cstring>

#include "test.h"
#include "test_kernels/plants.cuh"

using namespace test;

namespace {

CUmodule module;
const CUstream STREAM = nullptr;

CUfunction kernel(const char* name) { return function(module, name); }

// The nearest number of `digits` binary digits, ties to even; the last place is not below 2^lowest_place.
float round_to(float x, int digits, int lowest_place, float largest) {
    if (std::isinf(x)) return x;
    int exponent;
    std::frexp(double(x), &exponent);
    const int place = std::max(exponent - digits, lowest_place);
    const double rounded = std::ldexp(std::nearbyint(std::ldexp(double(x), -place)), place);
    return std::abs(rounded) > largest ? std::copysign(INFINITY, x) : float(rounded);
}

float round_to_half(float x) { return round_to(x, 11, -24, 65504); }
float round_to_bfloat16(float x) { return round_to(x, 8, -133, 0x1.fep127f); }

// --- The product and the softmax, right or with a planted bug.

struct Outcome {
    bool succeeded;
    bool right;
    SimtReport report;
    double seconds;
};

Outcome run_product(unsigned side) {
    std::vector<uint16_t> a(side * side), b(side * side);
    for (size_t i = 0; i < a.size(); i++) a[i] = half_of(wave(i, 37, 61)), b[i] = half_of(wave(i, 53, 67));
    const Buffer<uint16_t> a_device(a), b_device(b);
    Buffer<float> out(side * side);
    const auto begin = std::chrono::steady_clock::now();
    const CUresult error = launch(kernel("product"), {side / 64, side / 64}, 128, 0, STREAM, a_device.address(),
                                  b_device.address(), out.address(), int(side), int(side));
    Outcome outcome = {error == CUDA_SUCCESS, true, report(), 0};
    outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const std::vector<float> values = out.download();
    for (size_t row = 0; row < side; row++) {
        for (size_t output = 0; output < side; output++) {
            float sum = 0;
            for (size_t k = 0; k < side; k++) sum += wave(row * side + k, 37, 61) * wave(output * side + k, 53, 67);
            outcome.right &= std::abs(values[row * side + output] - sum) < 1e-4f;
        }
    }
    return outcome;
}

Outcome run_softmax(unsigned rows, unsigned width) {
    std::vector<float> input(rows * width);
    for (size_t i = 0; i < input.size(); i++) input[i] = float(i * 7919 % 1000) / 100;
    const Buffer<float> input_device(input);
    Buffer<float> out(rows * width);
    const CUresult error = launch(kernel("softmax"), rows, 128, 4 * sizeof(float), STREAM, input_device.address(),
                                  out.address(), int(width));
    Outcome outcome = {error == CUDA_SUCCESS, true, report(), 0};
    const std::vector<float> values = out.download();
    for (unsigned row = 0; row < rows; row++) {
        double sum = 0;
        for (unsigned i = 0; i < width; i++) sum += std::exp(double(input[row * width + i]));
        for (unsigned i = 0; i < width; i++) {
            const size_t at = row * width + i;
            outcome.right &= std::abs(values[at] - std::exp(double(input[at])) / sum) < 1e-6;
        }
    }
    return outcome;
}

void test_plant(int plant) {
    struct Plant {
        const char* name;
        bool in_product;
        // SIMT_FINDINGS: no check finds it, but the result is wrong.
        int finding;
    };
    static const Plant PLANTS[] = {
        {"nothing", true, SIMT_FINDINGS},
        {"no barrier before a tile", true, SIMT_RACE},
        {"no barrier after a tile", true, SIMT_RACE},
        {"wrong wait count", true, SIMT_IN_FLIGHT},
        {"no swizzle", true, SIMT_CONFLICT},
        {"one past the end", false, SIMT_OUT_OF_BOUNDS},
        {"divergent barrier", false, SIMT_BARRIER},
        {"uninitialised read", false, SIMT_UNINITIALISED},
        {"wrong fragment", true, SIMT_FINDINGS},
        {"no barrier before a sum", false, SIMT_RACE},
        {"no barrier after a sum", false, SIMT_RACE},
    };
    const Plant& planted = PLANTS[plant];
    for (const char* order : ORDERS) {
        setenv("SIMT_ORDER", order, 1);
        for (const bool product : {true, false}) {
            const char* name = product ? "product" : "softmax";
            const Outcome outcome = product ? run_product(128) : run_softmax(7, 333);
            if (plant == 0 || product != planted.in_product) {
                expect(outcome.succeeded && all_findings() == 0, "%s, %s order: found in a right kernel: %s", name,
                       order, outcome.report.message);
                expect(outcome.right, "%s, %s order: wrong result", name, order);
            } else if (planted.finding == SIMT_FINDINGS) {
                expect(outcome.succeeded && !outcome.right, "%s, %s order: the result is right", planted.name, order);
                printf("%-26s %-8s wrong result\n", planted.name, order);
            } else {
                const uint64_t found = outcome.report.findings[planted.finding];
                expect(!outcome.succeeded && found > 0, "%s, %s order: not found", planted.name, order);
                printf("%-26s %-8s %llu times: %s\n", planted.name, order, (unsigned long long)found,
                       outcome.report.message);
            }
        }
    }
    unsetenv("SIMT_ORDER");
}

// --- Wrong kernels.

void test_fault(const char* name, SimtFinding finding, unsigned threads, unsigned shared = 0) {
    constexpr int COUNT = 64 * 8;
    for (const char* order : ORDERS) {
        setenv("SIMT_ORDER", order, 1);
        Buffer<float> data(std::vector<float>(COUNT, 0.0f));
        if (strcmp(name, "fault_read_first") == 0) {
            const CUdeviceptr freed = data.address();
            data.release();
            expect(launch(kernel(name), 1, threads, shared, STREAM, freed) == CUDA_ERROR_LAUNCH_FAILED, "%s: success",
                   name);
        } else {
            // An index just behind the end of the dynamic memory or of the static array.
            const int count = strcmp(name, "fault_static_past_end") == 0 ? 4 : shared > 0 ? int(shared / 4) : COUNT;
            const CUresult error = launch(kernel(name), 1, threads, shared, STREAM, data.address(), count);
            expect(error == CUDA_ERROR_LAUNCH_FAILED, "%s, %s order: %d", name, order, error);
        }
        expect(report().findings[finding] > 0, "%s, %s order: the finding is another: %s", name, order,
               report().message);
        if (order == ORDERS[0]) printf("%-30s %s\n", name, report().message);
    }
    unsetenv("SIMT_ORDER");
}

void test_faults() {
    test_fault("fault_before_begin", SIMT_OUT_OF_BOUNDS, 32);
    test_fault("fault_null", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_read_first", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_vector_past_end", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_misaligned_vector", SIMT_MISALIGNED, 1);
    test_fault("fault_copy_past_end", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_misaligned_copy", SIMT_MISALIGNED, 1);
    test_fault("fault_copy_to_global", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_dynamic_past_end", SIMT_OUT_OF_BOUNDS, 1, 20);
    test_fault("fault_static_past_end", SIMT_OUT_OF_BOUNDS, 1);
    test_fault("fault_misaligned_ldmatrix", SIMT_MISALIGNED, 32);
    test_fault("fault_race_in_warp", SIMT_RACE, 32);
    test_fault("fault_race_of_warps", SIMT_RACE, 64);
    test_fault("fault_race_of_bytes", SIMT_RACE, 64);
    test_fault("fault_write_after_read", SIMT_RACE, 64);
    test_fault("fault_write_after_many_reads", SIMT_RACE, 64);
    test_fault("fault_atomic_and_read", SIMT_RACE, 64);
    test_fault("fault_uninitialised", SIMT_UNINITIALISED, 64, 256);
    test_fault("fault_read_own_copy", SIMT_IN_FLIGHT, 64);
    test_fault("fault_uncommitted_copy", SIMT_IN_FLIGHT, 64);
    test_fault("fault_write_to_copy", SIMT_IN_FLIGHT, 64);
    test_fault("fault_read_copy_of_other", SIMT_RACE, 64);
    test_fault("fault_exit_before_barrier", SIMT_BARRIER, 64);
    test_fault("fault_two_barriers", SIMT_BARRIER, 64);
    test_fault("fault_barrier_and_shuffle", SIMT_BARRIER, 32);
    test_fault("fault_two_collectives", SIMT_COLLECTIVE, 32);
    test_fault("fault_outside_mask", SIMT_COLLECTIVE, 32);
    test_fault("fault_mma_without_a_lane", SIMT_COLLECTIVE, 32);
    test_fault("fault_division", SIMT_UNDEFINED, 1);
}

// --- Right kernels.

// Runs one block of a feature's kernel, which must have no findings.
template <typename... Arguments>
void run_feature(const char* name, Dim3 grid, Dim3 block, unsigned shared, Arguments... arguments) {
    const CUresult error = launch(kernel(name), grid, block, shared, STREAM, arguments...);
    expect(error == CUDA_SUCCESS, "%s: %d, %s", name, error, report().message);
}

void test_indices() {
    struct alignas(16) Params {
        unsigned char factor;
        alignas(16) float addend[4];
    };
    struct alignas(8) Pair {
        unsigned x, y;
    };
    Buffer<unsigned> out(12 * 30);
    run_feature("feature_indices", {2, 3, 2}, {5, 3, 2}, 0, char(1), Params{3, {0, 0, 0, 7}}, out.address(),
                Pair{0, 100}, short(2));
    const std::vector<unsigned> values = out.download();
    for (unsigned i = 0; i < values.size(); i++) {
        expect(values[i] == (i / 30 * 1000 + i % 30) * 3 + 7 + 1 + 2 + 100, "index %u: %u", i, values[i]);
    }
}

void test_shuffles() {
    Buffer<int> out(8 * 32);
    run_feature("feature_shuffles", 1, 32, 0, out.address());
    const std::vector<int> values = out.download();
    unsigned thirds = 0;
    for (int lane = 0; lane < 32; lane += 3) thirds |= 1u << lane;
    for (int lane = 0; lane < 32; lane++) {
        const int upper = lane % 8 < 4 ? lane + 4 : lane;
        const int expected[8] = {50,
                                 (lane ^ 3) * 10,
                                 (lane < 28 ? lane + 4 : lane) * 10,
                                 upper,
                                 int(thirds),
                                 1,
                                 lane < 16 ? 3 : 21,
                                 lane < 8 ? lane ^ 1 : -1};
        for (int row = 0; row < 8; row++) {
            expect(values[row * 32 + lane] == expected[row], "shuffle %d, lane %d: %d", row, lane,
                   values[row * 32 + lane]);
        }
    }
}

void test_ldmatrix() {
    Buffer<unsigned> out(256);
    run_feature("feature_ldmatrix", 1, 32, 0, out.address());
    const std::vector<unsigned> values = out.download();
    for (unsigned lane = 0; lane < 32; lane++) {
        for (unsigned matrix = 0; matrix < 4; matrix++) {
            const auto element = [&](unsigned row, unsigned column) { return matrix * 64 + row * 8 + column; };
            const unsigned row = lane / 4, column = lane % 4 * 2;
            expect(values[lane * 4 + matrix] == (element(row, column) | element(row, column + 1) << 16), "ldmatrix");
            expect(values[128 + lane * 4 + matrix] == (element(column, row) | element(column + 1, row) << 16),
                   "ldmatrix.trans");
        }
    }
    expect(report().ldmatrix_matrices == 8 && report().ldmatrix_cycles == 8, "bank conflicts of rows in a row");
}

void test_mma() {
    std::vector<uint16_t> a(256), b(128);
    std::vector<float> c(128);
    for (int i = 0; i < 256; i++) a[i] = half_of(wave(i, 37, 61));
    for (int i = 0; i < 128; i++) b[i] = half_of(wave(i, 53, 67)), c[i] = wave(i, 11, 13);
    const Buffer<uint16_t> a_device(a), b_device(b);
    const Buffer<float> c_device(c);
    Buffer<float> out(128);
    run_feature("feature_mma", 1, 32, 0, a_device.address(), b_device.address(), c_device.address(), out.address());
    const std::vector<float> values = out.download();
    for (int row = 0; row < 16; row++) {
        for (int column = 0; column < 8; column++) {
            float sum = wave(row * 8 + column, 11, 13);
            for (int k = 0; k < 16; k++) sum += wave(row * 16 + k, 37, 61) * wave(k * 8 + column, 53, 67);
            expect(values[row * 8 + column] == sum, "mma (%d, %d)", row, column);
        }
    }
    expect(report().mma == 1, "count of mma");
}

void test_half() {
    // All positive f16 and the ties behind them, numbers next to both, and what lies outside.
    std::vector<float> input = {65519.0f, 65520.0f, 65536.0f, 1e30f, INFINITY, 1e-30f, 1.00390625f, 1.01171875f};
    for (int bits = 0; bits < 0x7c00; bits++) {
        const int exponent = bits >> 10;
        const float digits = exponent == 0 ? bits : 1024 + (bits & 1023);
        for (const float halves : {digits, digits + 0.5f}) {
            const float x = std::ldexp(halves, std::max(exponent, 1) - 25);
            for (const float y : {x, std::nextafterf(x, 0), std::nextafterf(x, INFINITY)}) input.push_back(y);
        }
    }
    for (size_t i = 0, positive = input.size(); i < positive; i++) input.push_back(-input[i]);
    const Buffer<float> input_device(input);
    Buffer<float> half(input.size()), bfloat16(input.size());
    run_feature("feature_half", 1, 256, 0, input_device.address(), half.address(), bfloat16.address(),
                int(input.size()));
    const std::vector<float> halves = half.download(), bfloats = bfloat16.download();
    for (size_t i = 0; i < input.size(); i++) {
        expect(halves[i] == round_to_half(input[i]), "f16 of %a: %a", input[i], halves[i]);
        expect(bfloats[i] == round_to_bfloat16(input[i]), "bf16 of %a: %a", input[i], bfloats[i]);
    }
}

void test_other_features() {
    const Buffer<float> sum(std::vector<float>(1, 0.0f));
    const Buffer<int> count(std::vector<int>(1, 0));
    run_feature("feature_atomics", 3, 100, 0, sum.address(), count.address());
    expect(sum.download()[0] == 3 * 4950 && count.download()[0] == 300, "atomics");

    const Buffer<int> exchanged(64);
    run_feature("feature_warp_barrier", 1, 64, 0, exchanged.address());
    for (int i = 0; i < 64; i++) expect(exchanged.download()[i] == i * 2, "warp barrier, thread %d", i);

    std::vector<uint16_t> numbers(256);
    for (int i = 0; i < 256; i++) numbers[i] = i + 1;
    const Buffer<uint16_t> from(numbers), copied(256);
    run_feature("feature_copies", 1, 32, 512, from.address(), copied.address());
    const std::vector<uint16_t> copies = copied.download();
    for (int i = 0; i < 256; i++) {
        const int elements = i / 8 % 3 == 0 ? 0 : i / 8 % 3 == 1 ? 3 : 8;
        expect(copies[i] == (i % 8 < elements ? i + 1 : 0), "copied element %d: %d", i, copies[i]);
    }

    const Buffer<unsigned> results(10);
    run_feature("feature_arithmetic", 1, 1, 0, results.address());
    // The last three terms of out[7] are 16 + 8 + 12.
    const unsigned expected[10] = {unsigned(100 + 1 * 2 - 1 * 2 + 127 * 3 - 128 * 4),
                                   100 + 1 * 2 + 255 * 2 + 127 * 3 + 128 * 4,
                                   8 + 31 * 100 + 0xf0123456u,
                                   0x3f000000,
                                   0x40400000,
                                   3,
                                   0x40e00000,
                                   unsigned(100 + 1 * 2 - 1 * 2 + 127 * 3 - 128 * 4) + 36,
                                   unsigned(100 - 128 * 1 - 1 * 128 + 127 * 2 - 255 * 2),
                                   0x77552200};
    const std::vector<unsigned> values = results.download();
    for (int i = 0; i < 10; i++)
        expect(values[i] == expected[i], "arithmetic %d: %#x, not %#x", i, values[i], expected[i]);

    for (const unsigned count : {20u, 60u}) {
        std::vector<int> rising(count);
        for (unsigned i = 0; i < count; i++) rising[i] = i;
        const Buffer<int> data(rising);
        run_feature(count == 20 ? "feature_reverse_20" : "feature_reverse_60", 1, 64, 0, data.address());
        for (unsigned i = 0; i < count; i++)
            expect(data.download()[i] == int(count - 1 - i), "static memory of a template");
    }

    const Buffer<int> sums(1024);
    run_feature("feature_stack", 2, 1024, 0, sums.address(), 100);
    for (int i = 0; i < 1024; i++) expect(sums.download()[i] == 256 * i + 100 * 255 * 128, "stack of thread %d", i);
}

void test_counters() {
    const Outcome outcome = run_product(128);
    const SimtReport& report = outcome.report;
    // 4 blocks, 4 warps, 4 steps of 2·8 products; a matrix of 8×8 for each 1024 FLOP but the left ones.
    expect(report.mma == 4 * 4 * 4 * 16, "mma: %llu", (unsigned long long)report.mma);
    expect(report.ldmatrix_matrices == 4 * 4 * 4 * 2 * 5 * 4, "ldmatrix: %llu",
           (unsigned long long)report.ldmatrix_matrices);
    expect(report.ldmatrix_cycles == report.ldmatrix_matrices, "bank conflicts: %llu",
           (unsigned long long)report.ldmatrix_cycles);
    expect(report.barriers == 4 * 4 * 2, "barriers: %llu", (unsigned long long)report.barriers);
    expect(report.global_bytes_read == 2 * 2 * 128 * 128 * 2, "read: %llu",
           (unsigned long long)report.global_bytes_read);
    expect(report.global_bytes_written == 128 * 128 * 4, "written: %llu",
           (unsigned long long)report.global_bytes_written);
}

void measure() {
    for (const unsigned side : {256u, 512u}) {
        for (const char* order : ORDERS) {
            setenv("SIMT_ORDER", order, 1);
            const Outcome outcome = run_product(side);
            printf("product of side %u, %s order: %.2f GFLOP/s\n", side, order,
                   2e-9 * side * side * side / outcome.seconds);
        }
    }
    unsetenv("SIMT_ORDER");
    const CUfunction nothing = kernel("feature_nothing");
    for (const unsigned threads : {1u, 128u, 1024u}) {
        constexpr int LAUNCHES = 2000;
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < LAUNCHES; i++) launch(nothing, 4, threads, 0, STREAM);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        printf("launch of 4 blocks of %u threads that do nothing: %.2f µs\n", threads,
               seconds.count() / LAUNCHES * 1e6);
    }
}

}  // namespace

int main(int, char** arguments) {
    const int plant = atoi(arguments[2]);
    open(arguments[1]);
    must("cuInit", 0u);
    CUcontext context;
    must("cuDevicePrimaryCtxRetain", &context, 0);
    must("cuCtxSetCurrent", context);
    must("cuModuleLoadData", &module, static_cast<const void*>(PTX));
    if (plant == NO_SWIZZLE) setenv("SIMT_MAX_LDMATRIX_CONFLICT", "1.0", 1);
    test_plant(plant);
    if (plant == 0) {
        test_faults();
        for (const char* order : ORDERS) {
            setenv("SIMT_ORDER", order, 1);
            test_indices();
            test_shuffles();
            test_ldmatrix();
            test_mma();
            test_half();
            test_other_features();
        }
        test_counters();
        measure();
    }
    return failures > 0;
}
