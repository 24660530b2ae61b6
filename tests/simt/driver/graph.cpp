// Graphs: recorded work, done again in its order.
#include "state.h"

using namespace driver;

CUDA_API CUresult cuGraphDestroy(CUgraph graph) {
    const Lock lock;
    return destroy(graph) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_API CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long flags) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    constexpr unsigned AUTO_FREE = 1, DEVICE_LAUNCH = 4, ALL = 15;
    if (!is_live(graph) || (flags & ~ALL) != 0) return CUDA_ERROR_INVALID_VALUE;
    if ((flags & AUTO_FREE) != 0 && (flags & DEVICE_LAUNCH) != 0) return CUDA_ERROR_INVALID_VALUE;
    *executable = give_out(new GraphExec{graph->work});
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuGraphExecDestroy(CUgraphExec executable) {
    const Lock lock;
    return destroy(executable) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_API CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    return is_live(executable) && find_stream(stream) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUDA_API CUresult cuGraphLaunch(CUgraphExec executable, CUstream handle) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    Stream* stream = find_stream(handle);
    if (!is_live(executable) || stream == nullptr) return CUDA_ERROR_INVALID_VALUE;
    calls.graph_launches++;
    for (const Work& work : executable->work) {
        // A stream that is captured records the graph's work one by one.
        const CUresult error = submit(*stream, work);
        if (error != CUDA_SUCCESS) return error;
    }
    return CUDA_SUCCESS;
}
