//! A device's stream, its memory and the kernels' functions.
//!
//! All work goes to one stream, in order; reading a result waits for it. Whoever uses the stream has the turn: while a
//! graph is captured, no other thread's launch may come between.

use super::driver::{failed, open};
use crate::backend::tables::Kept;
use crate::backend::{Dispatch, Profile, Work};
use crate::error::{Error, Result};
use crate::lock::lock;
use cudarc::driver::sys::{CUdevice_attribute, CUevent_flags, CUfunction_attribute};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use parking_lot::ReentrantMutex;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the driver loads: text that it compiles for the card, or code of the card's own architecture.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "a build has one kind")]
enum Image {
    Ptx(&'static str),
    Cubin(&'static [u8]),
}

/// What `build.rs` read off kernels/cuda/ptx: each kernel's name and the image that has it.
mod kernels {
    include!(concat!(env!("OUT_DIR"), "/cuda.rs"));
}

/// Dynamic shared memory that needs no permission.
const FREE_SHARED: u32 = 48 << 10;

/// Data that kernels read besides tensors, such as offsets.
pub(super) type Table = Arc<CudaSlice<u8>>;

pub(super) struct Context {
    pub(super) index: usize,
    name: String,
    /// Streaming multiprocessors.
    pub(super) multiprocessors: usize,
    context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    turn: ReentrantMutex<RefCell<Turn>>,
    tables: Kept<Table>,
    /// Counts the tensors that have moved to other memory.
    moved: AtomicU64,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    /// Collected while somebody asks for it.
    profile: Mutex<Option<Vec<Timed>>>,
}

/// What whoever has the turn is about.
#[derive(Default)]
struct Turn {
    /// Nothing is launched.
    skips: bool,
    /// The tables that are asked for.
    collected: Option<Vec<Table>>,
}

/// A launch between two events.
struct Timed {
    dispatch: Dispatch,
    start: CudaEvent,
    end: CudaEvent,
}

/// The shape of a launch.
#[derive(Clone, Copy)]
pub(super) struct Launch {
    pub(super) grid: [usize; 3],
    pub(super) block: [u32; 2],
    /// Bytes of dynamic shared memory.
    pub(super) shared: u32,
}

impl Launch {
    /// One block of so many threads for each of `blocks`.
    pub(super) fn blocks(blocks: usize, threads: u32) -> Self {
        Self { grid: [blocks, 1, 1], block: [threads, 1], shared: 0 }
    }

    /// A warp a row, eight a block.
    pub(super) fn rows(rows: usize) -> Self {
        Self { grid: [rows.div_ceil(8), 1, 1], block: [32, 8], shared: 0 }
    }
}

/// A kernel's parameters: as bytes, they are what the kernel's structure is.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Params<P>(P);

// SAFETY: `P` is `NoUninit`: plain numbers in C's layout, passed by value as the kernel declares them.
unsafe impl<P: bytemuck::NoUninit> cudarc::driver::DeviceRepr for Params<P> {}

impl Context {
    pub(super) fn open(index: usize) -> Result<Self> {
        let context = open(index)?;
        let failed = failed(index);
        // One stream: its order is all the order there is, and events would cost at each launch.
        // SAFETY: no other stream touches this context's memory.
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
            context,
            stream,
            turn: ReentrantMutex::default(),
            tables: Kept::default(),
            moved: AtomicU64::new(0),
            functions: Mutex::default(),
            profile: Mutex::default(),
        })
    }

    pub(super) fn describe(&self) -> String {
        format!("cuda:{}: {}", self.index, self.name)
    }

    /// Memory of unspecified content; never empty.
    pub(super) fn memory(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        let _turn = self.turn.lock();
        // SAFETY: bytes are valid whatever they are.
        unsafe { self.stream.alloc(bytes.max(16)) }.map_err(failed(self.index))
    }

    /// Memory of zeros.
    pub(super) fn zeros(&self, bytes: usize) -> Result<CudaSlice<u8>> {
        let _turn = self.turn.lock();
        self.stream.alloc_zeros(bytes.max(16)).map_err(failed(self.index))
    }

    /// Memory that holds `data`.
    pub(super) fn upload<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<CudaSlice<u8>> {
        let _turn = self.turn.lock();
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let mut memory = self.memory(bytes.len())?;
        if !bytes.is_empty() {
            self.stream.memcpy_htod(bytes, &mut memory).map_err(failed(self.index))?;
        }
        Ok(memory)
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

    /// Runs `work`, but launches nothing: for what it does besides, such as giving tensors their shapes.
    pub(super) fn without_launches<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = self.turn.lock();
        turn.borrow_mut().skips = true;
        let result = work();
        turn.borrow_mut().skips = false;
        result
    }

    /// Runs `work` and tells which tables it asked for.
    pub(super) fn collecting<T>(&self, work: impl FnOnce() -> T) -> (T, Vec<Table>) {
        let turn = self.turn.lock();
        turn.borrow_mut().collected = Some(Vec::new());
        let result = work();
        (result, turn.borrow_mut().collected.take().unwrap_or_default())
    }

    /// Where some memory is, for a kernel that finds it in a table. It must outlive the launch's place in the stream.
    pub(super) fn address(&self, memory: &CudaSlice<u8>) -> u64 {
        memory.device_ptr(&self.stream).0
    }

    /// The first bytes of some memories, so many of each, behind all work so far; one wait for all.
    pub(super) fn download<const N: usize>(
        &self,
        memories: [&CudaSlice<u8>; N],
        sizes: [usize; N],
    ) -> Result<[Vec<u8>; N]> {
        let mut all = [const { Vec::new() }; N];
        let _turn = self.turn.lock();
        for ((found, memory), bytes) in all.iter_mut().zip(memories).zip(sizes) {
            if bytes > 0 {
                *found = self.stream.clone_dtoh(&memory.slice(..bytes)).map_err(failed(self.index))?;
            }
        }
        if all.iter().any(|found| !found.is_empty()) {
            self.stream.synchronize().map_err(failed(self.index))?;
        }
        Ok(all)
    }

    /// Launches a kernel: its parameters, then pointers to `memories` in the kernel's order.
    pub(super) fn launch<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static str,
        params: &P,
        memories: &[&CudaSlice<u8>],
        launch: Launch,
        work: Work,
    ) -> Result<()> {
        let [x, y, z] = launch.grid;
        if x * y * z == 0 {
            return Ok(());
        }
        // CUDA's limits of a grid.
        if x > i32::MAX as usize || y.max(z) > 65_535 {
            return Err(Error::argument(kernel, format!("{x}×{y}×{z} blocks"), "at most 2147483647×65535×65535"));
        }
        let turn = self.turn.lock();
        if turn.borrow().skips {
            return Ok(());
        }
        let function = self.function(kernel, launch.shared)?;
        let grid_dim = (x as u32, y as u32, z as u32);
        let block_dim = (launch.block[0], launch.block[1], 1);
        let config = LaunchConfig { grid_dim, block_dim, shared_mem_bytes: launch.shared };
        let params = Params(*params);
        let pointers: Vec<u64> = memories.iter().map(|memory| memory.device_ptr(&self.stream).0).collect();
        let mut profile = lock(&self.profile);
        let event = || self.stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT)).map_err(failed(self.index));
        let start = profile.is_some().then(event).transpose()?;
        let mut builder = self.stream.launch_builder(&function);
        builder.arg(&params);
        pointers.iter().for_each(|pointer| {
            builder.arg(pointer);
        });
        // SAFETY: the parameters and pointers are those of the kernel's signature, as each kernel's file pairs them;
        // its contract has checked the shapes, so that it stays within its operands.
        unsafe { builder.launch(config) }.map_err(failed(self.index))?;
        if let (Some(profile), Some(start)) = (&mut *profile, start) {
            let workgroups = [grid_dim.0, grid_dim.1, grid_dim.2];
            let dispatch = Dispatch { kernel, workgroups, work, time: None };
            profile.push(Timed { dispatch, start, end: event()? });
        }
        Ok(())
    }

    /// A kernel's function, with leave to use so much dynamic shared memory.
    fn function(&self, kernel: &'static str, shared: u32) -> Result<CudaFunction> {
        let mut functions = lock(&self.functions);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let failed = failed(self.index);
        let image = match kernels::KERNELS.iter().find(|(name, _)| *name == kernel) {
            Some((_, Image::Ptx(text))) => Ptx::from_src(*text),
            Some((_, Image::Cubin(code))) => Ptx::from_binary(code.to_vec()),
            None => return Err(Error::device(format!("cuda:{}", self.index), format!("no kernel {kernel}"))),
        };
        let module = self.context.load_module(image).map_err(&failed)?;
        let function = module.load_function(kernel).map_err(&failed)?;
        if shared > FREE_SHARED {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, shared as i32).map_err(&failed)?;
        }
        functions.insert(kernel, function.clone());
        Ok(function)
    }

    /// What `work` launches.
    pub(super) fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Profile) {
        *lock(&self.profile) = Some(Vec::new());
        let result = work();
        // An event that cannot be read leaves its launch without a time.
        let _ = self.stream.synchronize();
        let launches = lock(&self.profile).take().unwrap_or_default();
        let timed = |Timed { dispatch, start, end }: Timed| {
            let time = start.elapsed_ms(&end).ok().map(|ms| Duration::from_secs_f32(ms.max(0.0) / 1e3));
            Dispatch { time, ..dispatch }
        };
        let dispatches: Vec<Dispatch> = launches.into_iter().map(timed).collect();
        let largest_submission = dispatches.iter().map(|dispatch| dispatch.work.flops).max().unwrap_or(0);
        (result, Profile { submissions: dispatches.len(), largest_submission, dispatches })
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("index", &self.index).field("name", &self.name).finish_non_exhaustive()
    }
}
