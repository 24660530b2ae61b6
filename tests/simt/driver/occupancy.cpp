// How many blocks share a multiprocessor. Registers are not known here, so these are upper bounds.
#include <algorithm>

#include "state.h"

namespace driver {
namespace {

constexpr int MAX_BLOCKS = 32;
constexpr int MAX_THREADS = 2048;

}  // namespace
}  // namespace driver

using namespace driver;

CUDA_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction function, int threads,
                                                                       size_t dynamic_bytes, unsigned) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (threads < 1 || unsigned(threads) > function->kernel->max_threads) return CUDA_ERROR_INVALID_VALUE;
    const int whole_warps = (threads + 31) / 32 * 32;
    const int by_shared = model().shared_of_multiprocessor / (dynamic_bytes + Model::RESERVED_SHARED);
    *blocks = std::min({MAX_BLOCKS, MAX_THREADS / whole_warps, by_shared});
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads,
                                                              size_t dynamic_bytes) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, dynamic_bytes, 0);
}

CUDA_API CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t* dynamic_bytes, CUfunction, int blocks, int) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (blocks < 1 || blocks > MAX_BLOCKS) return CUDA_ERROR_INVALID_VALUE;
    *dynamic_bytes = std::min(model().shared_of_multiprocessor / blocks - Model::RESERVED_SHARED, model().most_shared);
    return CUDA_SUCCESS;
}
