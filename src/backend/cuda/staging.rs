//! Copies between host and device, by way of pinned memory: the device makes them by itself, while host and kernels go
//! on.

use super::driver::failed;
use crate::error::Result;
use crate::lock::lock;
use cudarc::driver::{CudaContext, CudaEvent, CudaSlice, CudaStream, PinnedHostSlice};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Bytes of a buffer of the ring, and how many there are. At PCIe 4.0's 25 GB/s a buffer's copy takes 0.2 ms, in which a
/// core fills about half of one: the device is done with a buffer before the host comes round to it.
const BUFFER: usize = 4 << 20;
const BUFFERS: usize = 4;

/// Downloads' buffers that are kept, each up to [`BUFFER`] bytes.
const KEPT: usize = 4;

/// Pinned memory, and the event behind the last copy from or to it.
struct Pinned {
    memory: PinnedHostSlice<u8>,
    start: *mut u8,
    copied: CudaEvent,
}

// SAFETY: the pointer is to the memory that it owns.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Arc<CudaContext>, bytes: usize) -> Result<Self> {
        let failed = failed(context.ordinal());
        // SAFETY: bytes are valid whatever they are.
        let mut memory = unsafe { context.alloc_pinned_with_flags::<u8>(bytes, 0) }.map_err(&failed)?;
        let start = memory.as_mut_ptr().map_err(&failed)?;
        Ok(Self { start, copied: context.new_event(None).map_err(&failed)?, memory })
    }

    /// Waits for the last copy from or to it.
    fn wait(&self) -> Result<()> {
        self.copied.synchronize().map_err(failed(self.memory.context().ordinal()))
    }

    /// Some of its bytes.
    ///
    /// # Safety
    /// No copy from or to these bytes is under way.
    unsafe fn bytes(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.memory.len());
        // SAFETY: within the memory, which is borrowed mutably; the device leaves it alone, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// Uploads: through a ring of pinned buffers, on a stream of their own.
///
/// - The copies' stream allocates the memory. Where the compute stream has freed it before, the driver sees to it that
///   that is done with it (stream-ordered allocation).
/// - The compute stream waits for the copy before its next work, and frees the memory behind what used it.
/// - A buffer is filled again when the event behind the last copy from it has passed.
pub(super) struct Uploads {
    stream: Arc<CudaStream>,
    /// Behind the last upload.
    uploaded: CudaEvent,
    ring: Mutex<Ring>,
}

struct Ring {
    buffers: Vec<Pinned>,
    /// The buffer that is being filled, and how far it is.
    current: usize,
    filled: usize,
}

impl Ring {
    /// The next free bytes, up to so many.
    fn next(&mut self, stream: &Arc<CudaStream>, most: usize) -> Result<&mut [u8]> {
        if self.filled == BUFFER {
            if let Some(full) = self.buffers.get(self.current) {
                full.copied.record(stream).map_err(failed(stream.context().ordinal()))?;
            }
            let next = (self.current + 1) % BUFFERS;
            match self.buffers.get(next) {
                Some(buffer) => buffer.wait()?,
                None => self.buffers.push(Pinned::new(stream.context(), BUFFER)?),
            }
            (self.current, self.filled) = (next, 0);
        }
        let range = self.filled..BUFFER.min(self.filled + most);
        self.filled = range.end;
        // SAFETY: these bytes have not been copied since the buffer's event passed.
        Ok(unsafe { self.buffers[self.current].bytes(range) })
    }
}

impl Uploads {
    pub(super) fn new(context: &Arc<CudaContext>) -> Result<Self> {
        let failed = failed(context.ordinal());
        let stream = context.new_stream().map_err(&failed)?;
        let uploaded = context.new_event(None).map_err(&failed)?;
        // As if the last buffer were full: each is made when its turn comes.
        let ring = Ring { buffers: Vec::new(), current: BUFFERS - 1, filled: BUFFER };
        Ok(Self { stream, uploaded, ring: Mutex::new(ring) })
    }

    /// New memory, at the copies' stream, with a copy of `bytes` under way to its begin. The bytes are the caller's again;
    /// the host has waited only where the ring was full.
    pub(super) fn start(&self, bytes: &[u8]) -> Result<CudaSlice<u8>> {
        let failed = failed(self.stream.context().ordinal());
        // SAFETY: bytes are valid whatever they are.
        let mut memory = unsafe { self.stream.alloc::<u8>(bytes.len().max(16)) }.map_err(&failed)?;
        let mut ring = lock(&self.ring);
        let mut done = 0;
        while done < bytes.len() {
            let staged = ring.next(&self.stream, bytes.len() - done)?;
            let part = done..done + staged.len();
            staged.copy_from_slice(&bytes[part.clone()]);
            self.stream.memcpy_htod(staged, &mut memory.slice_mut(part.clone())).map_err(&failed)?;
            done = part.end;
        }
        self.uploaded.record(&self.stream).map_err(&failed)?;
        Ok(memory)
    }

    /// The memory, for the next work of `compute`, which waits for the copy to it.
    pub(super) fn finish(&self, memory: CudaSlice<u8>, compute: &Arc<CudaStream>) -> Result<CudaSlice<u8>> {
        // The event is behind this upload, or behind a later one.
        compute.wait(&self.uploaded).map_err(failed(compute.context().ordinal()))?;
        let length = memory.len();
        // SAFETY: the allocation that is let go of, and its length. `compute` comes behind all that was done with it, and
        // frees it.
        Ok(unsafe { compute.upgrade_device_ptr(memory.leak(), length) })
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        // The buffers are freed next.
        let _ = self.stream.synchronize();
    }
}

/// Downloads, each to a pinned buffer: those that lie idle.
#[derive(Clone, Default)]
pub(super) struct Downloads(Arc<Mutex<Vec<Pinned>>>);

/// Bytes on their way to the host; dropped, it waits for them, since the device writes to its memory.
pub(super) struct Download<const N: usize> {
    /// None for no bytes.
    buffer: Option<Pinned>,
    sizes: [usize; N],
    idle: Downloads,
}

impl Downloads {
    /// Copies the first bytes of some memories, so many of each, behind all work of `compute` so far. The memories may be
    /// freed by it at once.
    pub(super) fn start<const N: usize>(
        &self,
        compute: &Arc<CudaStream>,
        memories: [&CudaSlice<u8>; N],
        sizes: [usize; N],
    ) -> Result<Download<N>> {
        let failed = failed(compute.context().ordinal());
        let mut download =
            Download { buffer: self.buffer(compute.context(), sizes.iter().sum())?, sizes, idle: self.clone() };
        let Some(buffer) = &mut download.buffer else { return Ok(download) };
        let (mut start, mut copies) = (0, Ok(()));
        for (memory, size) in memories.into_iter().zip(sizes).filter(|(_, size)| *size > 0) {
            // SAFETY: nobody else has the buffer, and each copy has its own bytes.
            let bytes = unsafe { buffer.bytes(start..start + size) };
            copies = copies.and_then(|()| compute.memcpy_dtoh(&memory.slice(..size), bytes));
            start += size;
        }
        // Also behind those before one that failed.
        copies.and(buffer.copied.record(compute)).map_err(failed)?;
        Ok(download)
    }

    /// A buffer of at least so many bytes.
    fn buffer(&self, context: &Arc<CudaContext>, bytes: usize) -> Result<Option<Pinned>> {
        let mut idle = lock(&self.0);
        let fits = idle.iter().position(|buffer| buffer.memory.len() >= bytes);
        match fits {
            _ if bytes == 0 => Ok(None),
            Some(at) => Ok(Some(idle.swap_remove(at))),
            None => Pinned::new(context, bytes.next_multiple_of(64 << 10)).map(Some),
        }
    }
}

impl<const N: usize> Download<N> {
    /// The bytes of each memory, once they are there.
    pub(super) fn wait(mut self) -> Result<[Vec<u8>; N]> {
        let mut all = [const { Vec::new() }; N];
        let Some(buffer) = &mut self.buffer else { return Ok(all) };
        buffer.wait()?;
        let mut start = 0;
        for (found, size) in all.iter_mut().zip(self.sizes) {
            // SAFETY: the copies to the buffer are done.
            *found = unsafe { buffer.bytes(start..start + size) }.to_vec();
            start += size;
        }
        Ok(all)
    }
}

impl<const N: usize> Drop for Download<N> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let done = buffer.wait().is_ok();
        let mut idle = lock(&self.idle.0);
        if done && idle.len() < KEPT && buffer.memory.len() <= BUFFER {
            idle.push(buffer);
        }
    }
}
