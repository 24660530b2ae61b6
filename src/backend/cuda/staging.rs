//! Copies between host and device, by way of pinned memory: the device makes them by itself, while host and kernels go
//! on.

use super::device::Device;
use super::handles::{Event, Memory, Pinned, Stream};
use crate::error::Result;
use crate::lock::lock;
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
use std::sync::{Arc, Mutex};

/// Bytes of a buffer of the ring, and how many there are. At PCIe 4.0's 25 GB/s a buffer's copy takes 0.2 ms, in which a
/// core fills about half of one: the device is done with a buffer before the host comes round to it.
const BUFFER: usize = 4 << 20;
const BUFFERS: usize = 4;

/// Downloads' buffers that are kept, each up to [`BUFFER`] bytes.
const KEPT: usize = 4;

/// Pinned memory, and the event behind the last copy from or to it.
struct Buffer {
    pinned: Pinned,
    copied: Event,
}

impl Buffer {
    fn new(device: &Arc<Device>, bytes: usize) -> Result<Self> {
        Ok(Self { pinned: Pinned::new(device, bytes)?, copied: Event::new(device, CU_EVENT_DISABLE_TIMING)? })
    }
}

/// Uploads: through a ring of pinned buffers, on a stream of their own.
///
/// - The copies' stream allocates the memory. Where the compute stream has freed it before, the driver sees to it that
///   that is done with it (stream-ordered allocation).
/// - The compute stream waits for the copy before its next work, and frees the memory behind what used it.
/// - A buffer is filled again when the event behind the last copy from it has passed.
pub(super) struct Uploads {
    /// The copies'.
    pub(super) stream: Arc<Stream>,
    /// Behind the last upload.
    uploaded: Event,
    ring: Mutex<Ring>,
}

struct Ring {
    buffers: Vec<Buffer>,
    /// The buffer that is being filled, and how far it is.
    current: usize,
    filled: usize,
}

impl Ring {
    /// The next free bytes, up to so many.
    fn next(&mut self, stream: &Stream, most: usize) -> Result<&mut [u8]> {
        if self.filled == BUFFER {
            if let Some(full) = self.buffers.get(self.current) {
                full.copied.record(stream)?;
            }
            let next = (self.current + 1) % BUFFERS;
            match self.buffers.get(next) {
                Some(buffer) => buffer.copied.synchronize()?,
                None => self.buffers.push(Buffer::new(&stream.device, BUFFER)?),
            }
            (self.current, self.filled) = (next, 0);
        }
        let range = self.filled..BUFFER.min(self.filled + most);
        self.filled = range.end;
        // SAFETY: these bytes have not been copied since the buffer's event passed.
        Ok(unsafe { self.buffers[self.current].pinned.bytes(range) })
    }
}

impl Uploads {
    pub(super) fn new(device: &Arc<Device>) -> Result<Self> {
        // As if the last buffer were full: each is made when its turn comes.
        let ring = Mutex::new(Ring { buffers: Vec::new(), current: BUFFERS - 1, filled: BUFFER });
        Ok(Self { stream: Stream::new(device)?, uploaded: Event::new(device, CU_EVENT_DISABLE_TIMING)?, ring })
    }

    /// Copies `bytes` to the begin of memory of the copies' stream. They are the caller's again when this returns; the host
    /// has waited only where the ring was full.
    pub(super) fn start(&self, bytes: &[u8], memory: &Memory) -> Result<()> {
        let mut ring = lock(&self.ring);
        let mut done = 0;
        while done < bytes.len() {
            let staged = ring.next(&self.stream, bytes.len() - done)?;
            staged.copy_from_slice(&bytes[done..done + staged.len()]);
            // SAFETY: pinned, and filled again when the event behind the copy has passed.
            unsafe { self.stream.upload(staged, memory, done) }?;
            done += staged.len();
        }
        self.uploaded.record(&self.stream)
    }

    /// The memory, for the next work of `compute`, which waits for the copy to it, and frees it behind what used it.
    pub(super) fn finish(&self, mut memory: Memory, compute: &Arc<Stream>) -> Result<Memory> {
        // The event is behind this upload, or behind a later one.
        compute.wait(&self.uploaded)?;
        memory.stream = compute.clone();
        Ok(memory)
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
pub(super) struct Downloads(Arc<Mutex<Vec<Buffer>>>);

/// Bytes on their way to the host; dropped, it waits for them, since the device writes to its memory.
pub(super) struct Download<const N: usize> {
    /// None for no bytes.
    buffer: Option<Buffer>,
    sizes: [usize; N],
    idle: Downloads,
}

impl Downloads {
    /// Copies the first bytes of some memories, so many of each, behind all work of `compute` so far. The memories may be
    /// freed by it at once.
    pub(super) fn start<const N: usize>(
        &self,
        compute: &Stream,
        memories: [&Memory; N],
        sizes: [usize; N],
    ) -> Result<Download<N>> {
        let buffer = self.buffer(&compute.device, sizes.iter().sum())?;
        let mut download = Download { buffer, sizes, idle: self.clone() };
        let Some(buffer) = &mut download.buffer else { return Ok(download) };
        let (mut start, mut copies) = (0, Ok(()));
        for (memory, size) in memories.into_iter().zip(sizes).filter(|(_, size)| *size > 0) {
            // SAFETY: nobody else has the buffer, and each copy has its own bytes.
            let bytes = unsafe { buffer.pinned.bytes(start..start + size) };
            // NaN, so that a copy that is not made gives no older result.
            bytes.fill(0xff);
            // SAFETY: pinned, and looked at when the event behind the copy has passed.
            copies = copies.and_then(|()| unsafe { compute.download(memory, bytes) });
            start += size;
        }
        // Also behind those before one that failed.
        copies.and(buffer.copied.record(compute)).map(|()| download)
    }

    /// A buffer of at least so many bytes.
    fn buffer(&self, device: &Arc<Device>, bytes: usize) -> Result<Option<Buffer>> {
        let mut idle = lock(&self.0);
        let fits = idle.iter().position(|buffer| buffer.pinned.bytes >= bytes);
        match fits {
            _ if bytes == 0 => Ok(None),
            Some(at) => Ok(Some(idle.swap_remove(at))),
            None => Buffer::new(device, bytes.next_multiple_of(64 << 10)).map(Some),
        }
    }
}

impl<const N: usize> Download<N> {
    /// The bytes of each memory, once they are there.
    pub(super) fn wait(mut self) -> Result<[Vec<u8>; N]> {
        let mut all = [const { Vec::new() }; N];
        let Some(buffer) = &mut self.buffer else { return Ok(all) };
        buffer.copied.synchronize()?;
        let mut start = 0;
        for (found, size) in all.iter_mut().zip(self.sizes) {
            // SAFETY: the copies to the buffer are done.
            *found = unsafe { buffer.pinned.bytes(start..start + size) }.to_vec();
            start += size;
        }
        Ok(all)
    }
}

impl<const N: usize> Drop for Download<N> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let done = buffer.copied.synchronize().is_ok();
        let mut idle = lock(&self.idle.0);
        if done && idle.len() < KEPT && buffer.pinned.bytes <= BUFFER {
            idle.push(buffer);
        }
    }
}
