//! The device, its buffers, and the dispatches recorded for it.
//!
//! Kernels only record. What has been recorded is submitted when somebody reads a result: a forward pass is one
//! submission.

use super::adapter::{self, WgpuAdapter};
use super::cache::Cache;
use super::linear::Cooperative;
use super::pipeline::{Binding, Kernel, Pipelines};
use super::recorder::{Recorded, Recorder};
use super::timestamps::Timestamps;
use crate::backend::tables::Kept;
use crate::backend::{Dispatch, Pending, Profile, Work};
use crate::error::{Error, Result};
use crate::lock::lock;
use std::sync::{Arc, Mutex};

/// Workgroups that one dimension of a dispatch may have (WebGPU's default limit).
const MAX_GROUPS: u32 = 65_535;

/// What a large GPU has of multiprocessors, about; the adapter does not tell.
const MULTIPROCESSORS: usize = 128;

/// Bytes of a vec4: a kernel may read a matrix by them.
pub(super) const VECTOR: u64 = 16;

/// Used where the adapter has them.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::PIPELINE_CACHE);

pub(super) struct Queue {
    pub(super) adapter: WgpuAdapter,
    pub(super) device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: Pipelines,
    recorder: Mutex<Recorder>,
    tables: Kept<wgpu::Buffer>,
    /// Collected while somebody asks for it.
    profile: Mutex<Option<Profile>>,
    /// What the driver reported last, outside any call's own result.
    fault: Arc<Mutex<Option<Error>>>,
    /// Bytes of the largest buffer.
    max_buffer: u64,
    /// Bytes of the largest storage binding.
    pub(super) max_binding: u64,
    /// What a binding's start must be a multiple of, in bytes.
    pub(super) alignment: u64,
    /// Workgroups that one dimension of a dispatch may have.
    pub(super) max_groups: u32,
    /// Products are cut so that each of them has something to do.
    pub(super) multiprocessors: usize,
    /// What layers stored in f16 run on, where the adapter has cooperative matrices.
    pub(super) cooperative: Option<Cooperative>,
}

/// A part of a buffer, as a kernel sees it.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl<'a> Slice<'a> {
    /// All of a buffer.
    pub(super) fn all(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, size: buffer.size() }
    }

    fn entry(&self, binding: u32) -> wgpu::BindGroupEntry<'a> {
        let Self { buffer, offset, size } = *self;
        let size = wgpu::BufferSize::new(size);
        let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
        wgpu::BindGroupEntry { binding, resource }
    }
}

impl Queue {
    pub(super) fn open(index: Option<usize>) -> Result<Self> {
        let (about, adapter) = adapter::choose(index)?;
        let limits = adapter.limits();
        let mut features = adapter.features() & WANTED;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if about.cooperative_matrix.is_some() {
            features |= adapter::COOPERATIVE;
            // SAFETY: what is experimental in wgpu may break its own rules for such shaders; the two that use it are
            // ours, validated by naga, and bound every access themselves.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("crossalign"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| Error::device(format!("wgpu:{}", about.index), error.to_string()))?;
        let fault: Arc<Mutex<Option<Error>>> = Arc::default();
        let (uncaptured, lost) = (fault.clone(), fault.clone());
        let name = format!("wgpu:{}", about.index);
        let device_name = name.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let (device, reason) = (device_name.clone(), error.to_string());
            lock(&uncaptured).get_or_insert(match error {
                wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { device, reason },
                _ => Error::Device { device, reason },
            });
        }));
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device is no loss.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&lost).get_or_insert(Error::device(name.clone(), format!("device lost: {message}")));
            }
        });
        let cooperative = about.cooperative_matrix.and_then(|side| Cooperative::of(side, about.subgroup.0));
        Ok(Self {
            adapter: about,
            queue,
            pipelines: Pipelines::new(Cache::open(&device, &adapter.get_info())),
            recorder: Mutex::new(Recorder::new(limits.min_uniform_buffer_offset_alignment as usize)),
            tables: Kept::default(),
            profile: Mutex::default(),
            fault,
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            max_groups: MAX_GROUPS,
            multiprocessors: MULTIPROCESSORS,
            cooperative,
            device,
        })
    }

    /// Has the kernels' indices and loops checked from here on.
    pub(super) fn check_kernels(&mut self) {
        self.pipelines.check();
    }

    /// An error where the driver has reported one.
    fn check(&self) -> Result<()> {
        lock(&self.fault).take().map_or(Ok(()), Err)
    }

    /// A buffer of zeros for kernels to read and write, of whole vectors; a binding may not be empty.
    pub(super) fn buffer(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.next_multiple_of(VECTOR).max(VECTOR);
        if size > self.max_buffer {
            let expected = format!("at most {} bytes on {}", self.max_buffer, self.adapter.name);
            return Err(Error::argument("tensor", format!("{size} bytes"), expected));
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        self.check()?;
        Ok(buffer)
    }

    /// A buffer that holds `data`.
    pub(super) fn upload<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<wgpu::Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(bytes.len() as u64)?;
        let whole = bytes.len() / 4 * 4;
        self.queue.write_buffer(&buffer, 0, &bytes[..whole]);
        if whole < bytes.len() {
            let mut word = [0; 4];
            word[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            self.queue.write_buffer(&buffer, whole as u64, &word);
        }
        Ok(buffer)
    }

    /// A buffer that holds `data` and is kept: for what a forward pass asks for again.
    pub(super) fn table<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<wgpu::Buffer> {
        self.tables.get(bytemuck::cast_slice(data), || self.upload(data))
    }

    /// Records one dispatch of `groups` workgroups; `bindings` follow the parameters, in the kernel's order.
    pub(super) fn record<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static Kernel,
        constants: &[u32],
        params: &P,
        bindings: &[Slice<'_>],
        groups: [u32; 3],
        work: Work,
    ) -> Result<()> {
        debug_assert_eq!(kernel.bindings.len(), 1 + bindings.len(), "{}", kernel.name);
        debug_assert_eq!(kernel.bindings[0], Binding::Uniform, "{}", kernel.name);
        if groups.contains(&0) {
            return Ok(());
        }
        let pipeline = self.pipelines.get(&self.device, kernel, constants);
        let mut recorder = lock(&self.recorder);
        let params = bytemuck::bytes_of(params);
        let (block, offset) = recorder.place(&self.device, params);
        let whole = Slice { buffer: &block, offset: 0, size: params.len() as u64 };
        let slices = std::iter::once(&whole).chain(bindings);
        let entries: Vec<_> = (0..).zip(slices).map(|(binding, slice)| slice.entry(binding)).collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        recorder.dispatches.push(Recorded { kernel, pipeline, group, params: offset, groups, work });
        drop(recorder);
        self.check()
    }

    /// Submits what has been recorded, and the reading of the first bytes of some buffers, so many of each; one wait is
    /// for all.
    pub(super) fn read<const N: usize>(
        &self,
        buffers: [&wgpu::Buffer; N],
        sizes: [u64; N],
    ) -> Result<Pending<'_, [Vec<u8>; N]>> {
        let bytes = sizes.iter().sum();
        if bytes == 0 {
            return Ok(Pending::ready([const { Vec::new() }; N]));
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("read"), size: bytes, usage, mapped_at_creation: false };
        let staging = self.device.create_buffer(&descriptor);
        self.check()?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut recorder = lock(&self.recorder);
        let mut profile = lock(&self.profile);
        let started = profile.as_mut().map(|profile| self.start(profile, &recorder));
        let timestamps = started.flatten();
        recorder.encode(&self.queue, &mut encoder, timestamps.as_ref());
        let mut end = 0;
        for (buffer, bytes) in buffers.into_iter().zip(sizes) {
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, end, bytes);
            end += bytes;
        }
        let submission = self.queue.submit([encoder.finish()]);
        drop(recorder);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        timestamps.iter().for_each(Timestamps::map);
        let wait = move || {
            let lost = |error: String| Error::device(format!("wgpu:{}", self.adapter.index), error);
            let until = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
            self.device.poll(until).map_err(|error| lost(error.to_string()))?;
            self.check()?;
            let view = staging.get_mapped_range(..).map_err(|error| lost(error.to_string()))?;
            let mut rest = &view[..];
            Ok(sizes.map(|bytes| {
                let (found, others) = rest.split_at(bytes as usize);
                rest = others;
                found.to_vec()
            }))
        };
        let Some(profile) = &mut *profile else { return Ok(Pending::new(wait)) };
        // A profile wants the times of what it has noted.
        let read = wait()?;
        if let Some(timestamps) = timestamps {
            let times = timestamps.times(self.queue.get_timestamp_period());
            let first = profile.dispatches.len() - times.len();
            profile.dispatches[first..].iter_mut().zip(times).for_each(|(dispatch, time)| dispatch.time = Some(time));
        }
        Ok(Pending::ready(read))
    }

    /// Notes a submission of what is recorded; what times it, where the adapter can.
    fn start(&self, profile: &mut Profile, recorder: &Recorder) -> Option<Timestamps> {
        profile.submissions += 1;
        profile.dispatches.extend(recorder.dispatches.iter().map(|dispatch| Dispatch {
            kernel: dispatch.kernel.name,
            workgroups: dispatch.groups,
            work: dispatch.work,
            time: None,
        }));
        let timed = self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        timed.then(|| Timestamps::new(&self.device, recorder.dispatches.len()))
    }

    /// What `work` submits.
    pub(super) fn profile<T>(&self, work: impl FnOnce() -> T) -> (T, Profile) {
        *lock(&self.profile) = Some(Profile::default());
        let result = work();
        (result, lock(&self.profile).take().unwrap_or_default())
    }

    /// Splits `n` workgroups over x and y.
    pub(super) fn groups(&self, n: usize) -> [u32; 3] {
        let x = n.min(self.max_groups as usize);
        [x as u32, n.div_ceil(x.max(1)) as u32, 1]
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(host_vulkan), ignore = "no Vulkan driver")]
    fn what_the_driver_reports_is_an_error() {
        let queue = Queue::open(Some(0)).unwrap();
        let size = queue.device.limits().max_buffer_size + 4;
        let error = queue.buffer(size).unwrap_err().to_string();
        assert!(error.contains("at most"), "{error}");
        // As a failed allocation comes back: not from the call, but through the device's error callback.
        let usage = wgpu::BufferUsages::STORAGE;
        let descriptor = wgpu::BufferDescriptor { label: Some("too large"), size, usage, mapped_at_creation: false };
        drop(queue.device.create_buffer(&descriptor));
        let error = queue.buffer(16).unwrap_err().to_string();
        assert!(error.starts_with("device wgpu:0: ") && error.contains("too large"), "{error}");
        assert!(queue.buffer(16).is_ok(), "an error is reported once");
    }

    #[test]
    #[cfg_attr(not(host_vulkan), ignore = "no Vulkan driver")]
    fn a_lost_device_is_an_error() {
        let queue = Queue::open(Some(0)).unwrap();
        let buffer = queue.upload(&[1u32, 2, 3]).unwrap();
        assert_eq!(queue.read([&buffer], [8]).unwrap().wait().unwrap(), [[1, 0, 0, 0, 2, 0, 0, 0]]);
        queue.device.destroy();
        for _ in 0..2 {
            assert!(queue.read([&buffer], [8]).and_then(Pending::wait).is_err());
        }
    }
}
