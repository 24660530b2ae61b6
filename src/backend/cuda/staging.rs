//! Copies between host and device through pinned memory, so that they run asynchronously to the host and to kernels.

use super::device::Device;
use super::handles::{Event, Memory, Pinned, Stream};
use crate::error::Result;
use crate::lock::lock;
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
use std::sync::{Arc, Mutex};

/// Bytes of a buffer of the ring, and the number of buffers. At PCIe 4.0's 25 GB/s a buffer's copy takes 0.2 ms, in
/// which a core fills about half a buffer: the copy is done before the host comes back to the buffer.
const BUFFER: usize = 4 << 20;
const BUFFERS: usize = 4;

/// How many idle download buffers are kept, each of up to [`BUFFER`] bytes.
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

/// Uploads, through a ring of pinned buffers on a copy stream of their own.
///
/// - The copy stream allocates the memory. If the compute stream freed it before, the driver orders the new use behind
///   the old (stream-ordered allocation).
/// - The compute stream waits for the copy before its next work, and frees the memory behind the work that used it.
/// - A buffer is refilled only when the event behind the last copy from it has completed.
pub(super) struct Uploads {
    /// The copy stream.
    pub(super) stream: Arc<Stream>,
    /// Recorded behind the last upload.
    uploaded: Event,
    ring: Mutex<Ring>,
}

struct Ring {
    buffers: Vec<Buffer>,
    /// The buffer that is being filled, and how many of its bytes are filled.
    current: usize,
    filled: usize,
}

impl Ring {
    /// The next free bytes, at most `most`.
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
        // SAFETY: no copy has been started from these bytes since the buffer's event completed.
        Ok(unsafe { self.buffers[self.current].pinned.bytes(range) })
    }
}

impl Uploads {
    pub(super) fn new(device: &Arc<Device>) -> Result<Self> {
        // Starts as if the last buffer were full: each buffer is allocated on its first use.
        let ring = Mutex::new(Ring { buffers: Vec::new(), current: BUFFERS - 1, filled: BUFFER });
        Ok(Self { stream: Stream::new(device)?, uploaded: Event::new(device, CU_EVENT_DISABLE_TIMING)?, ring })
    }

    /// Copies `bytes` to the start of memory that the copy stream allocated. The caller may reuse `bytes` on return;
    /// the host waits only when the ring is full.
    pub(super) fn start(&self, bytes: &[u8], memory: &Memory) -> Result<()> {
        let mut ring = lock(&self.ring);
        let mut done = 0;
        while done < bytes.len() {
            let staged = ring.next(&self.stream, bytes.len() - done)?;
            staged.copy_from_slice(&bytes[done..done + staged.len()]);
            // SAFETY: the bytes are pinned, and refilled only when the event behind the copy has completed.
            unsafe { self.stream.upload(staged, memory, done) }?;
            done += staged.len();
        }
        self.uploaded.record(&self.stream)
    }

    /// Hands the memory to `compute`, which waits for the copy before its next work and frees the memory behind its
    /// last use.
    pub(super) fn finish(&self, mut memory: Memory, compute: &Arc<Stream>) -> Result<Memory> {
        // The event was recorded behind this upload or a later one.
        compute.wait(&self.uploaded)?;
        memory.stream = compute.clone();
        Ok(memory)
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        // The buffers are freed next, so no copy from them may be under way.
        let _ = self.stream.synchronize();
    }
}

/// Downloads, each to a pinned buffer; holds the idle buffers.
#[derive(Clone, Default)]
pub(super) struct Downloads(Arc<Mutex<Vec<Buffer>>>);

/// A download under way. Dropping it waits, since the device still writes to its buffer.
pub(super) struct Download<const N: usize> {
    /// `None` if there are no bytes.
    buffer: Option<Buffer>,
    sizes: [usize; N],
    idle: Downloads,
}

impl Downloads {
    /// Copies the first `sizes[i]` bytes of each memory, behind all work of `compute` so far. The memories may be
    /// dropped at once, since `compute` frees them behind the copies.
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
            // SAFETY: nobody else has the buffer, and the copies' ranges are disjoint.
            let bytes = unsafe { buffer.pinned.bytes(start..start + size) };
            // NaN, so that a copy that does not happen cannot return an older result.
            bytes.fill(0xff);
            // SAFETY: the bytes are pinned, and read only when the event behind the copy has completed.
            copies = copies.and_then(|()| unsafe { compute.download(memory, bytes) });
            start += size;
        }
        // Recorded even if a copy failed, behind the copies before it; without the event the buffer is in use until the
        // stream has ended its work.
        let recorded = buffer.copied.record(compute).inspect_err(|_| drop(compute.synchronize()));
        copies.and(recorded).map(|()| download)
    }

    /// An idle or new buffer of at least `bytes` bytes.
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
    /// Waits for the copies and returns the bytes of each memory.
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
