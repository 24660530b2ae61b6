//! The driver's objects: streams, events, memory, code and graphs. Each is released when it is dropped.

use super::device::Device;
use super::functions::Functions;
use crate::error::Result;
use bytemuck::Zeroable;
use cudarc::driver::sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
use cudarc::driver::sys::{
    CUdeviceptr, CUevent, CUevent_flags, CUfunction, CUfunction_attribute, CUgraph, CUgraphExec, CUmodule, CUstream,
    CUstream_flags,
};
use parking_lot::ReentrantMutex;
use std::ffi::{CString, c_int, c_void};
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::Arc;

/// A handle of the driver, and the function that releases it.
pub(super) struct Handle<T: Copy> {
    device: Arc<Device>,
    raw: T,
    give_back: fn(&Functions) -> unsafe extern "C" fn(T) -> u32,
}

// SAFETY: any thread may use the driver's handles. Graphs, which the driver does not synchronise, are used under the
// stream lock.
unsafe impl<T: Copy> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Copy> Sync for Handle<T> {}

impl<T: Copy + Zeroable> Handle<T> {
    fn make(
        device: &Arc<Device>,
        make: impl FnOnce(&Functions, *mut T) -> u32,
        give_back: fn(&Functions) -> unsafe extern "C" fn(T) -> u32,
    ) -> Result<Self> {
        Ok(Self { raw: device.ask(make)?, device: device.clone(), give_back })
    }
}

impl<T: Copy> Drop for Handle<T> {
    fn drop(&mut self) {
        // An error here is ignored: a failed device reports it at the next call.
        // SAFETY: the driver made the handle, and nobody else has it.
        let _ = self.device.call(|f| unsafe { (self.give_back)(f)(self.raw) });
    }
}

/// A stream. Work is submitted under the stream lock: while a graph is captured, no other thread may submit to the
/// stream.
pub(super) struct Stream {
    pub(super) device: Arc<Device>,
    handle: Handle<CUstream>,
    pub(super) lock: ReentrantMutex<()>,
}

impl Stream {
    /// A stream that does not synchronise with the default stream.
    pub(super) fn new(device: &Arc<Device>) -> Result<Arc<Self>> {
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the function takes a pointer to a handle.
        let make = |f: &Functions, stream: *mut CUstream| unsafe { (f.cuStreamCreate)(stream, flags) };
        let handle = Handle::make(device, make, |f| f.cuStreamDestroy_v2)?;
        Ok(Arc::new(Self { device: device.clone(), handle, lock: ReentrantMutex::new(()) }))
    }

    /// Blocks until all work so far is done.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream belongs to the device.
        self.device.call(|f| unsafe { (f.cuStreamSynchronize)(self.handle.raw) })
    }

    /// Makes all later work wait for an event.
    pub(super) fn wait(&self, event: &Event) -> Result<()> {
        // SAFETY: the stream and the event belong to the device.
        self.device.call(|f| unsafe { (f.cuStreamWaitEvent)(self.handle.raw, event.0.raw, 0) })
    }

    /// Allocates memory of unspecified content, for this stream's work.
    pub(super) fn allocate(self: &Arc<Self>, bytes: usize) -> Result<Memory> {
        let pool = self.device.has_pool();
        // SAFETY: the functions take a pointer to an address.
        let address = self.device.ask(|f, address| unsafe {
            if pool { (f.cuMemAllocAsync)(address, bytes, self.handle.raw) } else { (f.cuMemAlloc_v2)(address, bytes) }
        })?;
        Ok(Memory { stream: self.clone(), address, bytes })
    }

    pub(super) fn fill_with_zeros(&self, memory: &Memory) -> Result<()> {
        // SAFETY: it covers exactly the memory.
        self.device.call(|f| unsafe { (f.cuMemsetD8Async)(memory.address, 0, memory.bytes, self.handle.raw) })
    }

    /// Copies to memory at an offset.
    ///
    /// # Safety
    /// The bytes are pinned, and not changed until the copy is done.
    pub(super) unsafe fn upload(&self, bytes: &[u8], memory: &Memory, offset: usize) -> Result<()> {
        assert!(offset + bytes.len() <= memory.bytes);
        let (to, from) = (memory.address + offset as u64, bytes.as_ptr().cast());
        // SAFETY: within the memory, by the check above.
        self.device.call(|f| unsafe { (f.cuMemcpyHtoDAsync_v2)(to, from, bytes.len(), self.handle.raw) })
    }

    /// Copies the first bytes of memory to the host.
    ///
    /// # Safety
    /// `bytes` are pinned, and not accessed until the copy is done.
    pub(super) unsafe fn download(&self, memory: &Memory, bytes: &mut [u8]) -> Result<()> {
        assert!(bytes.len() <= memory.bytes);
        let to = bytes.as_mut_ptr().cast();
        // SAFETY: within the memory, by the check above.
        self.device.call(|f| unsafe { (f.cuMemcpyDtoHAsync_v2)(to, memory.address, bytes.len(), self.handle.raw) })
    }

    /// Launches a kernel on a grid of blocks.
    ///
    /// # Safety
    /// The arguments match the kernel's signature, and it stays within its operands.
    pub(super) unsafe fn launch(
        &self,
        kernel: &Function,
        [x, y, z]: [u32; 3],
        [width, height]: [u32; 2],
        shared: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let (kernel, stream, arguments) = (kernel.raw, self.handle.raw, arguments.as_mut_ptr());
        // SAFETY: as the caller guarantees; the driver has copied the arguments when it returns.
        self.device.call(|f| unsafe {
            (f.cuLaunchKernel)(kernel, x, y, z, width, height, 1, shared, stream, arguments, null_mut())
        })
    }

    /// Records what this thread launches from here on instead of running it.
    pub(super) fn begin_capture(&self) -> Result<()> {
        let mode = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream belongs to the device.
        self.device.call(|f| unsafe { (f.cuStreamBeginCapture_v2)(self.handle.raw, mode) })
    }

    /// Ends the capture: the graph of what was launched since its begin.
    pub(super) fn end_capture(&self) -> Result<Graph> {
        // SAFETY: the function takes a pointer to a handle.
        let graph: CUgraph = self.device.ask(|f, graph| unsafe { (f.cuStreamEndCapture)(self.handle.raw, graph) })?;
        // SAFETY: the driver made the graph.
        let make = |f: &Functions, made| unsafe { (f.cuGraphInstantiateWithFlags)(made, graph, 0) };
        let made = Handle::make(&self.device, make, |f| f.cuGraphExecDestroy);
        // SAFETY: the instantiated graph does not need it any more.
        let _ = self.device.call(|f| unsafe { (f.cuGraphDestroy)(graph) });
        made.map(Graph)
    }

    pub(super) fn launch_graph(&self, graph: &Graph) -> Result<()> {
        // SAFETY: the graph and the stream belong to the device.
        self.device.call(|f| unsafe { (f.cuGraphLaunch)(graph.0.raw, self.handle.raw) })
    }
}

/// An instantiated graph of launches.
pub(super) struct Graph(Handle<CUgraphExec>);

pub(super) struct Event(Handle<CUevent>);

impl Event {
    pub(super) fn new(device: &Arc<Device>, flags: CUevent_flags) -> Result<Self> {
        // SAFETY: the function takes a pointer to a handle.
        let make = |f: &Functions, event: *mut CUevent| unsafe { (f.cuEventCreate)(event, flags as u32) };
        Handle::make(device, make, |f| f.cuEventDestroy_v2).map(Self)
    }

    /// Records the event behind a stream's work so far.
    pub(super) fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: the event and the stream belong to the device.
        self.0.device.call(|f| unsafe { (f.cuEventRecord)(self.0.raw, stream.handle.raw) })
    }

    /// Blocks until the work before the event is done.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: the event belongs to the device.
        self.0.device.call(|f| unsafe { (f.cuEventSynchronize)(self.0.raw) })
    }

    /// The milliseconds to another event; both must have completed.
    pub(super) fn milliseconds_to(&self, end: &Self) -> Result<f32> {
        // SAFETY: the function takes a pointer to a number, and both events belong to the device.
        self.0.device.ask(|f, time| unsafe { (f.cuEventElapsedTime)(time, self.0.raw, end.0.raw) })
    }
}

/// Memory of the device. It is freed behind the work of its stream, under the stream lock, so that the free does not
/// become part of another thread's capture.
pub(super) struct Memory {
    /// The stream whose work uses the memory.
    pub(super) stream: Arc<Stream>,
    pub(super) address: CUdeviceptr,
    pub(super) bytes: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        let (stream, address, pool) = (&self.stream, self.address, self.stream.device.has_pool());
        let _lock = stream.lock.lock();
        // Without a pool the memory is freed at once, not in stream order.
        let _ = if pool { Ok(()) } else { stream.synchronize() };
        // SAFETY: it was allocated in the same way, no later work uses it, and nobody else has it.
        let _ = stream.device.call(|f| unsafe {
            if pool { (f.cuMemFreeAsync)(address, stream.handle.raw) } else { (f.cuMemFree_v2)(address) }
        });
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of cuda:{}", self.bytes, self.stream.device.index)
    }
}

/// Pinned host memory.
pub(super) struct Pinned {
    memory: Handle<*mut c_void>,
    pub(super) bytes: usize,
}

impl Pinned {
    /// Allocates pinned memory of unspecified content.
    pub(super) fn new(device: &Arc<Device>, bytes: usize) -> Result<Self> {
        // SAFETY: the function takes a pointer to a pointer.
        let make = |f: &Functions, memory: *mut *mut c_void| unsafe { (f.cuMemHostAlloc)(memory, bytes, 0) };
        Ok(Self { memory: Handle::make(device, make, |f| f.cuMemFreeHost)?, bytes })
    }

    /// A range of the bytes.
    ///
    /// # Safety
    /// No copy from or to these bytes is under way.
    pub(super) unsafe fn bytes(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.bytes);
        // SAFETY: within the memory, which is borrowed mutably; the caller guarantees that no copy accesses it.
        unsafe { std::slice::from_raw_parts_mut(self.memory.raw.cast::<u8>().add(range.start), range.len()) }
    }
}

/// A kernel, and the module that it belongs to.
#[derive(Clone)]
pub(super) struct Function {
    raw: CUfunction,
    module: Arc<Handle<CUmodule>>,
}

// SAFETY: any thread may use the driver's handles.
unsafe impl Send for Function {}

impl Function {
    /// Loads code, zero-terminated PTX or a cubin, and finds the kernels with these names in it.
    pub(super) fn load<'n>(
        device: &Arc<Device>,
        code: &[u8],
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Vec<Self>> {
        // Copied to the heap for its alignment: the driver wants machine code to begin at a multiple of 16 bytes or so.
        let code = code.to_vec();
        // SAFETY: the code is an image that build.rs built in.
        let make = |f: &Functions, module| unsafe { (f.cuModuleLoadData)(module, code.as_ptr().cast()) };
        let module = Arc::new(Handle::make(device, make, |f| f.cuModuleUnload)?);
        let find = |name| {
            let name = CString::new(name).unwrap_or_default();
            // SAFETY: the function takes a pointer to a handle, and a zero-terminated text.
            let find = |f: &Functions, kernel| unsafe { (f.cuModuleGetFunction)(kernel, module.raw, name.as_ptr()) };
            Ok(Self { raw: device.ask(find)?, module: module.clone() })
        };
        names.map(find).collect()
    }

    pub(super) fn set(&self, attribute: CUfunction_attribute, value: c_int) -> Result<()> {
        // SAFETY: the kernel belongs to the device.
        self.module.device.call(|f| unsafe { (f.cuFuncSetAttribute)(self.raw, attribute, value) })
    }
}
