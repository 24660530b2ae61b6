//! Launches, and their profile.

use super::context::Context;
use super::handles::{Event, Memory};
use super::kernels::Parameters;
use super::profiling::{Profiling, Timed};
use super::tensor_map::TensorMap;
use crate::backend::{Dispatch, Profile, Work};
use crate::error::{Error, Result};
use crate::lock::lock;
use cudarc::driver::sys::CUevent_flags;
use std::ptr::from_ref;
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
    /// A grid of `blocks` blocks of `threads` threads.
    pub(super) fn blocks(blocks: usize, threads: u32) -> Self {
        Self { grid: [blocks, 1, 1], block: [threads, 1], shared: 0 }
    }

    /// One warp per row, eight rows per block.
    pub(super) fn rows(rows: usize) -> Self {
        Self { grid: [rows.div_ceil(8), 1, 1], block: [32, 8], shared: 0 }
    }
}

impl Context {
    /// Launches a kernel with its parameters, then pointers to `memories` in the kernel's order.
    pub(super) fn launch<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static str,
        params: &P,
        memories: &[&Memory],
        launch: Launch,
        work: Work,
    ) -> Result<()> {
        self.launch_with_maps(kernel, params, &[], memories, launch, work)
    }

    /// As [`Context::launch`], with tensor maps between the parameters and the pointers.
    pub(super) fn launch_with_maps<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static str,
        params: &P,
        maps: &[TensorMap],
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
        let _lock = self.stream.lock.lock();
        if self.skips() {
            return Ok(());
        }
        let parameters = Parameters { bytes: size_of::<P>(), maps: maps.len(), pointers: memories.len() };
        let function = self.kernels.function(kernel, parameters, launch.shared)?;
        let workgroups = [x as u32, y as u32, z as u32];
        let pointers: Vec<u64> = memories.iter().map(|memory| memory.address).collect();
        let mut arguments = vec![from_ref(params).cast_mut().cast()];
        arguments.extend(maps.iter().map(TensorMap::argument));
        arguments.extend(pointers.iter().map(|pointer| from_ref(pointer).cast_mut().cast()));
        let mut profile = lock(&self.profile);
        let event = || {
            let event = Event::new(&self.device, CUevent_flags::CU_EVENT_DEFAULT)?;
            event.record(&self.stream).map(|()| event)
        };
        let start = profile.is_some().then(event).transpose()?;
        // SAFETY: the parameters, plain numbers in C's layout, the maps and the pointers are those of the kernel's
        // signature, as each kernel's file pairs them; the check of its arguments has compared the shapes, so that it stays within
        // its operands.
        unsafe { self.stream.launch(&function, workgroups, launch.block, launch.shared, &mut arguments) }?;
        if let (Some(profile), Some(start)) = (&mut *profile, start) {
            let dispatch = Dispatch { kernel, workgroups, work, time: None };
            profile.push(Timed { dispatch, start, end: event()? });
        }
        Ok(())
    }

    /// Runs `work` and profiles what it launches.
    pub(super) fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Profile) {
        let profiling = Profiling::begin(&self.profile);
        let result = work();
        // Failure is no error here: a launch whose events cannot be read has no time.
        let _ = self.locked(|| self.stream.synchronize());
        let launches = profiling.end();
        let timed = |Timed { dispatch, start, end }: Timed| {
            let time = start.milliseconds_to(&end).ok().map(|ms| Duration::from_secs_f32(ms.max(0.0) / 1e3));
            Dispatch { time, ..dispatch }
        };
        let dispatches: Vec<Dispatch> = launches.into_iter().map(timed).collect();
        let largest_submission = dispatches.iter().map(|dispatch| dispatch.work.flops).max().unwrap_or(0);
        (result, Profile { submissions: dispatches.len(), largest_submission, dispatches })
    }
}
