// Streams and events. Work is done when it is submitted, so that waiting takes no time; here is what it means to the
// order of work (order.h) and to a capture.
#include "state.h"

namespace driver {
namespace {

// The per-thread and the legacy default stream, by their fixed handles.
bool is_default(CUstream handle) { return reinterpret_cast<uintptr_t>(handle) <= 2; }

void invalidate(Capture& capture) { capture.valid = false; }

CUresult forbid_if_capturing(const Stream& stream) {
    if (!stream.capture) return CUDA_SUCCESS;
    invalidate(*stream.capture);
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult need_stream(CUstream handle, Stream** stream) {
    if (const CUresult error = need_context()) return error;
    *stream = find_stream(handle);
    return *stream == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult need_event(CUevent event) {
    if (const CUresult error = need_context()) return error;
    return is_live(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

}  // namespace

Stream* find_stream(CUstream handle) {
    if (is_default(handle)) return &current_context()->default_stream;
    return is_live(handle) ? handle : nullptr;
}

CUresult forbid_in_capture() {
    CUresult result = CUDA_SUCCESS;
    for (Stream* stream : handles<Stream>()) {
        if (!stream->capture || stream->capture->origin != stream) continue;
        Capture& capture = *stream->capture;
        const bool mine =
            capture.thread == std::this_thread::get_id() && capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED;
        if (!mine && capture.mode != CU_STREAM_CAPTURE_MODE_GLOBAL) continue;
        invalidate(capture);
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

CUresult submit(Stream& stream, Work work) {
    if (!stream.capture) return perform(&stream, work);
    if (!stream.capture->valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    stream.capture->graph->work.push_back(std::move(work));
    stream.position++;
    return CUDA_SUCCESS;
}

}  // namespace driver

using namespace driver;

CUDA_API CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned, int) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    auto* made = new Stream();
    made->context = current_context();
    *stream = give_out(made);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}

CUDA_API CUresult cuStreamDestroy_v2(CUstream handle) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    if (!is_live(handle)) return CUDA_ERROR_INVALID_HANDLE;
    if (handle->capture) {
        invalidate(*handle->capture);
        handle->capture->streams.erase(handle);
        handle->capture->active = handle->capture->origin != handle && handle->capture->active;
    }
    destroy(handle);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuStreamSynchronize(CUstream handle) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    if (const CUresult error = forbid_if_capturing(*stream)) return error;
    calls.waits++;
    return host_waits(stream->passed);
}

CUDA_API CUresult cuStreamQuery(CUstream handle) { return cuStreamSynchronize(handle); }

CUDA_API CUresult cuCtxSynchronize() {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    CUresult result = CUDA_SUCCESS;
    for (Stream* stream : handles<Stream>()) {
        if (stream->context != current_context()) continue;
        if (const CUresult error = forbid_if_capturing(*stream)) result = error;
        if (const CUresult error = host_waits(stream->passed)) result = error;
    }
    calls.waits++;
    return result;
}

// Has no effect, since the stand-in has no rules for managed memory.
CUDA_API CUresult cuStreamAttachMemAsync(CUstream handle, CUdeviceptr, size_t, unsigned) {
    const Lock lock;
    Stream* stream;
    return need_stream(handle, &stream);
}

CUDA_API CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    return submit(*stream, HostWork{function, data});
}

CUDA_API CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    if (!is_live(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (!event->capture || !event->capture->active) {
        // A capture cannot depend on work before it.
        if (!stream->capture || !event->recorded) {
            merge(stream->passed, event->passed);
            return CUDA_SUCCESS;
        }
        invalidate(*stream->capture);
        return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    if (stream->capture && stream->capture != event->capture) {
        invalidate(*stream->capture);
        invalidate(*event->capture);
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    if (!stream->capture) {
        stream->capture = event->capture;
        stream->capture->streams.insert(stream);
        stream->joined = stream->position;
    }
    stream->position++;
    if (is_live(event->stream) && event->position > event->stream->joined) event->stream->joined = event->position;
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuEventCreate(CUevent* event, unsigned flags) {
    const Lock lock;
    if (const CUresult error = need_context()) return error;
    constexpr unsigned DISABLE_TIMING = 2;
    auto* made = new Event();
    made->context = current_context();
    made->has_time = (flags & DISABLE_TIMING) == 0;
    *event = give_out(made);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuEventDestroy_v2(CUevent event) {
    const Lock lock;
    if (const CUresult error = need_event(event)) return error;
    destroy(event);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuEventRecord(CUevent event, CUstream handle) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    if (!is_live(event)) return CUDA_ERROR_INVALID_HANDLE;
    if (event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
    event->capture = stream->capture;
    event->stream = stream;
    event->position = stream->position;
    event->recorded = true;
    event->passed = stream->passed;
    event->time = std::chrono::steady_clock::now();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuEventQuery(CUevent event) {
    const Lock lock;
    if (const CUresult error = need_event(event)) return error;
    if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
    if (const CUresult error = forbid_in_capture()) return error;
    return host_waits(event->passed);
}

CUDA_API CUresult cuEventSynchronize(CUevent event) {
    const Lock lock;
    if (const CUresult error = need_event(event)) return error;
    if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
    calls.waits += !host_knows(event->passed);
    return host_waits(event->passed);
}

CUDA_API CUresult cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
    const Lock lock;
    for (const CUevent event : {begin, end}) {
        if (const CUresult error = need_event(event)) return error;
        if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
        if (!event->recorded || !event->has_time) return CUDA_ERROR_INVALID_HANDLE;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent begin, CUevent end) {
    return cuEventElapsedTime(milliseconds, begin, end);
}

CUDA_API CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    if (stream->is_default) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    stream->capture = std::make_shared<Capture>();
    Capture& capture = *stream->capture;
    capture.graph = new Graph();
    capture.origin = stream;
    capture.mode = mode;
    capture.thread = std::this_thread::get_id();
    capture.streams.insert(stream);
    return CUDA_SUCCESS;
}

CUDA_API CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    *graph = nullptr;
    if (!stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
    const std::shared_ptr<Capture> capture = stream->capture;
    if (capture->origin != stream) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id()) {
        return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
    }
    bool joined = true;
    for (Stream* other : capture->streams) {
        joined &= other == stream || other->joined == other->position;
        other->capture.reset();
    }
    capture->active = false;
    if (capture->valid && joined) {
        *graph = give_out(capture->graph);
        return CUDA_SUCCESS;
    }
    delete capture->graph;
    return capture->valid ? CUDA_ERROR_STREAM_CAPTURE_UNJOINED : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUDA_API CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    const Lock lock;
    Stream* stream;
    if (const CUresult error = need_stream(handle, &stream)) return error;
    *status = !stream->capture         ? CU_STREAM_CAPTURE_STATUS_NONE
              : stream->capture->valid ? CU_STREAM_CAPTURE_STATUS_ACTIVE
                                       : CU_STREAM_CAPTURE_STATUS_INVALIDATED;
    return CUDA_SUCCESS;
}
