//! A device's streams and its memory.
//!
//! All work goes to one stream, in order, but for uploads, which it waits for. Whoever uses the stream has the turn: while
//! a graph is captured, no other thread's launch may come between.

use super::driver::{failed, open};
use super::kernels::Kernels;
use super::profiling::Timed;
use super::staging::{Download, Downloads, Uploads};
use crate::backend::tables::Kept;
use crate::error::Result;
use crate::lock::lock;
use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Memory of the device. It is given back behind the work that uses it, in the turn: not into what another thread captures.
pub(super) struct Memory {
    slice: ManuallyDrop<CudaSlice<u8>>,
    turn: TurnLock,
}

impl Deref for Memory {
    type Target = CudaSlice<u8>;

    fn deref(&self) -> &CudaSlice<u8> {
        &self.slice
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _turn = self.turn.lock();
        // The thread may never have used the device.
        let context = self.slice.context();
        context.record_err(context.bind_to_thread());
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(&mut self.slice) }
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.slice.fmt(f)
    }
}

/// Data that kernels read besides tensors, such as offsets.
pub(super) type Table = Arc<Memory>;

pub(super) struct Context {
    pub(super) index: usize,
    name: String,
    /// Streaming multiprocessors.
    pub(super) multiprocessors: usize,
    /// Bytes of the device's memory, free or not.
    pub(super) memory: usize,
    pub(super) stream: Arc<CudaStream>,
    uploads: Uploads,
    downloads: Downloads,
    pub(super) turn: TurnLock,
    tables: Kept<Table>,
    /// Counts the tensors that have moved to other memory.
    moved: AtomicU64,
    pub(super) kernels: Kernels,
    /// Collected while somebody asks for it.
    pub(super) profile: Mutex<Option<Vec<Timed>>>,
}

/// The turn to use the stream.
type TurnLock = Arc<ReentrantMutex<RefCell<Turn>>>;

/// What whoever has the turn is about.
#[derive(Default)]
pub(super) struct Turn {
    /// Nothing is launched.
    pub(super) skips: bool,
    /// The tables that are asked for.
    collected: Option<Vec<Table>>,
}

/// The turn while it is about something; what it was about before comes back when this is dropped, also by a panic.
struct Taken<'a> {
    turn: ReentrantMutexGuard<'a, RefCell<Turn>>,
    before: Turn,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.turn.replace(std::mem::take(&mut self.before));
    }
}

impl Context {
    pub(super) fn open(index: usize) -> Result<Self> {
        let context = open(index)?;
        let failed = failed(index);
        // Its events would cost at each launch.
        // SAFETY: memory is used by one stream; what an upload does with it before is ordered in `staging`.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(&failed)?;
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        let multiprocessors = context.attribute(attribute).map_err(&failed)?.max(1) as usize;
        let (name, memory) = (context.name().map_err(&failed)?, context.total_mem().map_err(&failed)?);
        let (major, minor) = context.compute_capability().map_err(&failed)?;
        let name = format!(
            "{name}, compute capability {major}.{minor}, {multiprocessors} multiprocessors, {} MiB",
            memory >> 20
        );
        Ok(Self {
            index,
            name,
            multiprocessors,
            memory,
            stream,
            uploads: Uploads::new(&context)?,
            downloads: Downloads::default(),
            turn: TurnLock::default(),
            tables: Kept::default(),
            moved: AtomicU64::new(0),
            kernels: Kernels::new(index, context),
            profile: Mutex::default(),
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("cuda:{}: {}", self.index, self.name)
    }

    /// Memory of unspecified content; never empty.
    pub(super) fn memory(&self, bytes: usize) -> Result<Memory> {
        let _turn = self.turn.lock();
        // SAFETY: bytes are valid whatever they are.
        let slice = unsafe { self.stream.alloc(bytes.max(16)) };
        slice.map(|slice| self.keep(slice)).map_err(failed(self.index))
    }

    /// Memory of zeros.
    pub(super) fn zeros(&self, bytes: usize) -> Result<Memory> {
        let _turn = self.turn.lock();
        let slice = self.stream.alloc_zeros(bytes.max(16));
        slice.map(|slice| self.keep(slice)).map_err(failed(self.index))
    }

    /// Memory that holds `data`, for work that is submitted from now on.
    pub(super) fn upload<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<Memory> {
        // The host fills the ring while others have the turn.
        let slice = self.uploads.start(bytemuck::cast_slice(data))?;
        let _turn = self.turn.lock();
        self.uploads.finish(slice, &self.stream).map(|slice| self.keep(slice))
    }

    fn keep(&self, slice: CudaSlice<u8>) -> Memory {
        Memory { slice: ManuallyDrop::new(slice), turn: self.turn.clone() }
    }

    /// A table that holds `data`: uploaded where it is not there yet.
    pub(super) fn table<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<Table> {
        let turn = self.turn.lock();
        let table = self.tables.get(bytemuck::cast_slice(data), || self.upload(data).map(Arc::new))?;
        if let Some(collected) = &mut turn.borrow_mut().collected {
            collected.push(table.clone());
        }
        Ok(table)
    }

    /// Notes that a tensor has moved: graphs that were captured before point to where it was.
    pub(super) fn note_move(&self) {
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn is_profiling(&self) -> bool {
        lock(&self.profile).is_some()
    }

    /// Runs `work` while no other thread uses the stream.
    pub(super) fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let _turn = self.turn.lock();
        work()
    }

    /// Takes the turn to do what `about` says, until what is returned is dropped.
    fn take_turn(&self, about: Turn) -> Taken<'_> {
        let turn = self.turn.lock();
        let before = turn.replace(about);
        Taken { turn, before }
    }

    /// Runs `work`, but launches nothing: for what it does besides, such as giving tensors their shapes.
    pub(super) fn without_launches<T>(&self, work: impl FnOnce() -> T) -> T {
        let _taken = self.take_turn(Turn { skips: true, ..Turn::default() });
        work()
    }

    /// Runs `work` and tells which tables it asked for.
    pub(super) fn collecting<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<Table>) {
        let taken = self.take_turn(Turn { collected: Some(Vec::new()), ..Turn::default() });
        let result = work();
        (result, taken.turn.take().collected.unwrap_or_default())
    }

    /// Where some memory is, for a kernel that finds it in a table. It must outlive the launch's place in the stream.
    pub(super) fn address(&self, memory: &Memory) -> u64 {
        memory.device_ptr(&self.stream).0
    }

    /// Copies the first bytes of some memories, so many of each, behind all work so far; what is returned waits for them.
    pub(super) fn download_later<const N: usize>(
        &self,
        memories: [&Memory; N],
        sizes: [usize; N],
    ) -> Result<Download<N>> {
        let _turn = self.turn.lock();
        self.downloads.start(&self.stream, memories.map(|memory| &**memory), sizes)
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("index", &self.index).field("name", &self.name).finish_non_exhaustive()
    }
}
