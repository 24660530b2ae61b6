// linear in f32: out = epilogue(input · Wᵀ + b).
//
// input [rows, input_stride] f32, weight [outputs, weight_stride] f32, f16 or bf16, bias [outputs] f32, out [rows,
// out_stride] f32; f32 products and sums. The weights' rows are zero past the inputs, to a multiple of DEPTH, and the bias
// goes on to a multiple of eight.
// Block: one tile of out; 256 threads of 8×8 elements of a 128×128 tile, or of 4×4 of a 64×64 one.
// Shared memory: two slabs of 8 inputs (16 of the small tile) of both operands; while one is multiplied, the next is fetched
// into registers.
// Each element is summed over the inputs first to last, whatever the tile: batch-invariant.
#include "element.cuh"
#include "epilogue.cuh"
#include "linear_params.cuh"

namespace {

constexpr int THREADS = 256;
// Neighbours that a thread loads, multiplies and stores at once: 16 bytes.
constexpr int FOUR = 4;
// Threads of a block across its tile: a thread has every sixteenth four of the rows and of the outputs.
constexpr int SIDE = 16;

// Inputs of a slab: as many as make a four for each thread.
template <int TILE>
constexpr int DEPTH = THREADS * FOUR / TILE;

// A slab of one operand, transposed: `input[k]` has input k of all the tile's rows. Padded by 16 bytes, so that the 32 rows
// and inputs that a warp stores at once lie in different banks.
template <int TILE>
struct Slab {
    float input[DEPTH<TILE>][TILE + FOUR];
};

// A thread's four of each slab of an operand, on its way from global to shared memory. A warp moves two fours of sixteen
// rows: whole sectors.
template <int TILE, typename T>
struct Mover {
    // The thread's row of the tile, and its first input of a slab.
    int row;
    int first;
    const T* from;
    // Inputs from the next four on.
    int left;
    bool aligned;
    float x[FOUR];

    // What lies past the last row repeats it, and is not stored.
    __device__ __forceinline__ Mover(const T* operand, int stride, int row0, int rows, int inputs) {
        const int warp = threadIdx.x / 32;
        const int lane = threadIdx.x % 32;
        row = lane % 16 + warp % (TILE / 16) * 16;
        first = (lane / 16 + warp / (TILE / 16) * 2) * FOUR;
        from = operand + size_t(min(row0 + row, rows - 1)) * stride + first;
        left = inputs - first;
        aligned = stride % FOUR == 0;
    }

    // The next slab's inputs, zero past the last.
    __device__ __forceinline__ void load() {
        if (aligned && left >= FOUR) {
            ::load(from, x);
        } else {
#pragma unroll
            for (int n = 0; n < FOUR; n++) x[n] = n < left ? widen(from[n]) : 0;
        }
        from += DEPTH<TILE>;
        left -= DEPTH<TILE>;
    }

    __device__ __forceinline__ void store(Slab<TILE>& slab) const {
#pragma unroll
        for (int n = 0; n < FOUR; n++) slab.input[first + n][row] = x[n];
    }
};

// Stores four neighbours of a row, or the first `count` of them. A call: a copy for each four would be most of the code.
__device__ __noinline__ void finish(unsigned epilogue, const float* bias, float* to, int count, bool aligned, float4 sums) {
    float x[FOUR] = {sums.x, sums.y, sums.z, sums.w};
    float biases[FOUR];
    ::load(bias, biases);
    const bool whole = aligned && count >= FOUR;
#pragma unroll
    for (int n = 0; n < FOUR; n++) x[n] = activate(epilogue, x[n] + biases[n]);
    if (epilogue == ACCUMULATE) {
        float before[FOUR] = {};
        if (whole) {
            ::load(to, before);
        } else {
#pragma unroll
            for (int n = 0; n < FOUR; n++) before[n] = n < count ? to[n] : 0;
        }
#pragma unroll
        for (int n = 0; n < FOUR; n++) x[n] += before[n];
    }
    if (whole) {
        ::store(to, x);
        return;
    }
#pragma unroll
    for (int n = 0; n < FOUR; n++) {
        if (n < count) to[n] = x[n];
    }
}

// The elements of an operand that a thread multiplies by: one four of each 64.
template <int TILE>
__device__ __forceinline__ void fetch(const Slab<TILE>& slab, int k, int at, float (&x)[TILE / SIDE]) {
#pragma unroll
    for (int i = 0; i < TILE / SIDE; i += FOUR) {
        const float4 four = *reinterpret_cast<const float4*>(&slab.input[k][at * FOUR + i * SIDE]);
        x[i] = four.x, x[i + 1] = four.y, x[i + 2] = four.z, x[i + 3] = four.w;
    }
}

template <int TILE, typename Weight>
__device__ __forceinline__ void linear(const LinearParams& params, const float* input, const Weight* weight,
                                       const float* bias, float* out) {
    constexpr int PART = TILE / SIDE;
    __shared__ __align__(16) Slab<TILE> a_slabs[2];
    __shared__ __align__(16) Slab<TILE> b_slabs[2];
    const int row0 = blockIdx.x * TILE;
    const int output0 = blockIdx.y * TILE;
    // A warp has 4×8 threads of the tile, so that few of its reads of shared memory differ.
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    const int down = warp / 2 * 4 + lane / 8;
    const int across = warp % 2 * 8 + lane % 8;
    Mover<TILE, float> a_mover(input, params.input_stride, row0, params.rows, params.inputs);
    Mover<TILE, Weight> b_mover(weight, params.weight_stride, output0, params.outputs, params.weight_stride);

    float sums[PART][PART] = {};
    const int steps = (params.inputs + DEPTH<TILE> - 1) / DEPTH<TILE>;
    a_mover.load();
    b_mover.load();
    for (int step = 0; step < steps; step++) {
        Slab<TILE>& a_slab = a_slabs[step % 2];
        Slab<TILE>& b_slab = b_slabs[step % 2];
        a_mover.store(a_slab);
        b_mover.store(b_slab);
        // The slab of this step is whole, and the one before it has been read by all.
        __syncthreads();
        a_mover.load();
        b_mover.load();
#pragma unroll
        for (int k = 0; k < DEPTH<TILE>; k++) {
            float a[PART];
            float b[PART];
            fetch(a_slab, k, down, a);
            fetch(b_slab, k, across, b);
#pragma unroll
            for (int i = 0; i < PART; i++) {
#pragma unroll
                for (int j = 0; j < PART; j++) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
            }
        }
    }

    const bool aligned = params.out_stride % FOUR == 0;
#pragma unroll
    for (int i = 0; i < PART; i++) {
        const int row = row0 + down * FOUR + i / FOUR * (FOUR * SIDE) + i % FOUR;
        if (row >= params.rows) continue;
#pragma unroll
        for (int j = 0; j < PART; j += FOUR) {
            const int output = output0 + across * FOUR + j * SIDE;
            if (output >= params.outputs) continue;
            const float4 four = make_float4(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]);
            float* to = out + size_t(row) * params.out_stride + output;
            finish(params.epilogue, bias + output, to, params.outputs - output, aligned, four);
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    linear_f32_f32_128x128(LinearParams params, const float* input, const float* weight, const float* bias, float* out) {
    linear<128>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    linear_f32_f16_128x128(LinearParams params, const float* input, const __half* weight, const float* bias, float* out) {
    linear<128>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    linear_f32_bf16_128x128(LinearParams params, const float* input, const __nv_bfloat16* weight, const float* bias,
                            float* out) {
    linear<128>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    linear_f32_f32_64x64(LinearParams params, const float* input, const float* weight, const float* bias, float* out) {
    linear<64>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    linear_f32_f16_64x64(LinearParams params, const float* input, const __half* weight, const float* bias, float* out) {
    linear<64>(params, input, weight, bias, out);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    linear_f32_bf16_64x64(LinearParams params, const float* input, const __nv_bfloat16* weight, const float* bias, float* out) {
    linear<64>(params, input, weight, bias, out);
}
