//! A device's streams and its memory.
//!
//! All work goes to one stream, in order, except uploads, which have their own stream and are waited for. Work is
//! submitted under the stream lock: while a graph is captured, no other thread may launch.

use super::device::Device;
use super::family::Family;
use super::handles::{Memory, Stream};
use super::kernels::Kernels;
use super::profiling::Timed;
use super::staging::{Download, Downloads, Uploads};
use crate::backend::gpu::table_cache::TableCache;
use crate::error::{Error, Result};
use crate::lock::lock;
use parking_lot::ReentrantMutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Data that kernels read besides tensors, such as offsets.
pub(super) type Table = Arc<Memory>;

pub(super) struct Context {
    pub(super) device: Arc<Device>,
    description: String,
    pub(super) family: Family,
    /// Streaming multiprocessors.
    pub(super) multiprocessors: usize,
    /// Bytes of the device's memory, free or not.
    pub(super) memory: usize,
    pub(super) stream: Arc<Stream>,
    uploads: Uploads,
    downloads: Downloads,
    /// The mode of the holder of the stream lock.
    about: Mutex<About>,
    tables: TableCache<Table>,
    /// Counts how often a tensor has moved to other memory.
    moved: AtomicU64,
    pub(super) kernels: Kernels,
    /// The launches of the profile under way, if any.
    pub(super) profile: Mutex<Option<Vec<Timed>>>,
}

#[derive(Default)]
struct About {
    /// Launches are skipped.
    skips: bool,
    /// Collects the tables that are asked for.
    collected: Option<Vec<Table>>,
}

/// The stream lock, held in some mode; dropping it, also in a panic, restores the mode before.
struct Taken<'a> {
    about: &'a Mutex<About>,
    before: About,
    _lock: ReentrantMutexGuard<'a, ()>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(self.about) = std::mem::take(&mut self.before);
    }
}

impl Context {
    pub(super) fn open(index: usize) -> Result<Self> {
        let device = Device::open(index)?;
        let kernels = Kernels::new(device.clone());
        let (family, reason) = Family::of(&device, &kernels)?;
        let mut description = device.describe()?;
        if let Some(reason) = reason {
            description += &format!(", without the kernels of its compute capability: {reason}");
        }
        Ok(Self {
            description,
            family,
            multiprocessors: device.multiprocessors()?,
            memory: device.memory()?.1,
            stream: Stream::new(&device)?,
            uploads: Uploads::new(&device)?,
            downloads: Downloads::default(),
            about: Mutex::default(),
            tables: TableCache::default(),
            moved: AtomicU64::new(0),
            kernels,
            profile: Mutex::default(),
            device,
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("cuda:{}: {}", self.device.index, self.description)
    }

    /// Allocates memory of unspecified content; never empty.
    pub(super) fn memory(&self, bytes: usize) -> Result<Memory> {
        let _lock = self.stream.lock.lock();
        self.allocate(&self.stream, bytes)
    }

    /// Allocates memory of zeros.
    pub(super) fn zeros(&self, bytes: usize) -> Result<Memory> {
        let _lock = self.stream.lock.lock();
        let memory = self.allocate(&self.stream, bytes)?;
        self.stream.fill_with_zeros(&memory).map(|()| memory)
    }

    /// Memory that holds `data`, for work that is submitted from now on.
    pub(super) fn upload<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<Memory> {
        self.upload_to(size_of_val(data), bytemuck::cast_slice(data))
    }

    /// As [`Context::upload`], in whole words: the kernel reads bytes by the words that hold them.
    pub(super) fn upload_words(&self, bytes: &[u8]) -> Result<Memory> {
        self.upload_to(bytes.len().next_multiple_of(4), bytes)
    }

    /// The first bytes of memory of `size` bytes.
    fn upload_to(&self, size: usize, bytes: &[u8]) -> Result<Memory> {
        let memory = self.allocate(&self.uploads.stream, size)?;
        // Without the stream lock, so that the host fills the ring while others hold it.
        self.uploads.start(bytes, &memory)?;
        let _lock = self.stream.lock.lock();
        self.uploads.finish(memory, &self.stream)
    }

    /// Allocates memory for a stream's work. If it does not fit, waits for all work, frees what is not in use and tries
    /// again.
    fn allocate(&self, stream: &Arc<Stream>, bytes: usize) -> Result<Memory> {
        let bytes = bytes.max(16);
        let mut memory = stream.allocate(bytes);
        if let Err(Error::OutOfMemory { .. }) = memory {
            let _lock = self.stream.lock.lock();
            self.tables.clear();
            self.stream.synchronize()?;
            self.device.trim()?;
            memory = stream.allocate(bytes);
        }
        memory.map_err(|error| self.needs(bytes, error))
    }

    /// Adds to an out-of-memory error what did not fit, and into what.
    fn needs(&self, bytes: usize, error: Error) -> Error {
        let Error::OutOfMemory { device, reason } = error else { return error };
        let room = self.device.memory().map(|(free, all)| format!(", {free} of {all} are free")).unwrap_or_default();
        Error::OutOfMemory { device, reason: format!("{reason}: {bytes} bytes more do not fit{room}") }
    }

    /// A table that holds `data`, uploaded on first use.
    pub(super) fn table<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<Table> {
        let _lock = self.stream.lock.lock();
        let table = self.tables.get(bytemuck::cast_slice(data), || self.upload(data).map(Arc::new))?;
        if let Some(collected) = &mut lock(&self.about).collected {
            collected.push(table.clone());
        }
        Ok(table)
    }

    /// Notes that a tensor has moved: graphs captured before hold its old address.
    pub(super) fn note_move(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn is_profiling(&self) -> bool {
        lock(&self.profile).is_some()
    }

    /// Whether the holder of the stream lock skips launches.
    pub(super) fn skips(&self) -> bool {
        lock(&self.about).skips
    }

    /// Runs `work` while no other thread uses the stream.
    pub(super) fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let _lock = self.stream.lock.lock();
        work()
    }

    /// Takes the stream lock in mode `about`, until the result is dropped.
    fn take_lock(&self, about: About) -> Taken<'_> {
        let held = self.stream.lock.lock();
        let before = std::mem::replace(&mut *lock(&self.about), about);
        Taken { about: &self.about, before, _lock: held }
    }

    /// Runs `work` but skips its launches: for its other effects, such as giving tensors their shapes.
    pub(super) fn without_launches<T>(&self, work: impl FnOnce() -> T) -> T {
        let _taken = self.take_lock(About { skips: true, ..About::default() });
        work()
    }

    /// Runs `work` and returns the tables that it asked for.
    pub(super) fn collecting<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<Table>) {
        let taken = self.take_lock(About { collected: Some(Vec::new()), ..About::default() });
        let result = work();
        let collected = lock(taken.about).collected.take();
        (result, collected.unwrap_or_default())
    }

    /// Starts a copy of the first `sizes[i]` bytes of each memory behind all work so far; the result waits for it.
    pub(super) fn download_later<const N: usize>(
        &self,
        memories: [&Memory; N],
        sizes: [usize; N],
    ) -> Result<Download<N>> {
        let _lock = self.stream.lock.lock();
        self.downloads.start(&self.stream, memories, sizes)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("description", &self.describe()).finish_non_exhaustive()
    }
}
