//! Launches, and their profile.

use super::context::{Context, Memory};
use super::driver::failed;
use super::profiling::{Profiling, Timed};
use crate::backend::{Dispatch, Profile, Work};
use crate::error::{Error, Result};
use crate::lock::lock;
use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use std::time::Duration;

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
    /// Launches a kernel: its parameters, then pointers to `memories` in the kernel's order.
    pub(super) fn launch<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static str,
        params: &P,
        memories: &[&Memory],
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
        let function = self.kernels.function(kernel, size_of::<P>(), memories.len(), launch.shared)?;
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

    /// What `work` launches.
    pub(super) fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Profile) {
        let profiling = Profiling::begin(&self.profile);
        let result = work();
        // An event that cannot be read leaves its launch without a time.
        let _ = self.in_turn(|| self.stream.synchronize());
        let launches = profiling.end();
        let timed = |Timed { dispatch, start, end }: Timed| {
            let time = start.elapsed_ms(&end).ok().map(|ms| Duration::from_secs_f32(ms.max(0.0) / 1e3));
            Dispatch { time, ..dispatch }
        };
        let dispatches: Vec<Dispatch> = launches.into_iter().map(timed).collect();
        let largest_submission = dispatches.iter().map(|dispatch| dispatch.work.flops).max().unwrap_or(0);
        (result, Profile { submissions: dispatches.len(), largest_submission, dispatches })
    }
}
