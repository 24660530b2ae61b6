//! The device, and the dispatches recorded for it.
//!
//! Kernels only record. What has been recorded is submitted when somebody reads a result: a forward pass is one
//! submission.

use super::adapter::{self, WgpuAdapter};
use super::pipeline::{Binding, Kernel, Pipelines};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::util::DeviceExt;

/// Workgroups that one dimension of a dispatch may have (WebGPU's default limit).
pub(super) const MAX_GROUPS: u32 = 65_535;

pub(super) struct Queue {
    pub(super) adapter: WgpuAdapter,
    pub(super) device: wgpu::Device,
    queue: wgpu::Queue,
    pipelines: Pipelines,
    recorded: Mutex<Option<wgpu::CommandEncoder>>,
    /// What the driver reported last, outside any call's own result.
    fault: Arc<Mutex<Option<String>>>,
    /// Bytes of the largest storage binding.
    pub(super) max_binding: u64,
    /// What a binding's start must be a multiple of, in bytes.
    pub(super) alignment: u64,
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
}

impl Queue {
    pub(super) fn open(index: Option<usize>) -> Result<Self> {
        let (about, adapter) = adapter::choose(index)?;
        let limits = adapter.limits();
        let descriptor =
            wgpu::DeviceDescriptor { label: Some("crossalign"), required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| Error::device(format!("wgpu:{}", about.index), error.to_string()))?;
        let fault: Arc<Mutex<Option<String>>> = Arc::default();
        let report = |fault: &Arc<Mutex<Option<String>>>| {
            let fault = fault.clone();
            move |message: String| {
                fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
            }
        };
        let (uncaptured, lost) = (report(&fault), report(&fault));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| uncaptured(error.to_string())));
        device.set_device_lost_callback(move |reason, message| {
            // Dropping the device is no loss.
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost(format!("device lost: {message}"));
            }
        });
        Ok(Self {
            adapter: about,
            queue,
            pipelines: Pipelines::default(),
            recorded: Mutex::new(None),
            fault,
            max_binding: limits.max_storage_buffer_binding_size,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment),
            device,
        })
    }

    /// An error where the driver has reported one.
    fn check(&self) -> Result<()> {
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(message) => Err(Error::device(format!("wgpu:{}", self.adapter.index), message)),
        }
    }

    /// A buffer of zeros for kernels to read and write; at least one word, since a binding may not be empty.
    pub(super) fn buffer(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.next_multiple_of(4).max(4);
        if size > self.device.limits().max_buffer_size {
            let expected = format!("at most {} bytes on {}", self.device.limits().max_buffer_size, self.adapter.name);
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

    /// Records one dispatch of `groups` workgroups; `bindings` follow the parameters, in the kernel's order.
    pub(super) fn record<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static Kernel,
        constants: &[u32],
        params: &P,
        bindings: &[Slice<'_>],
        groups: [u32; 3],
    ) -> Result<()> {
        debug_assert_eq!(kernel.bindings.len(), 1 + bindings.len(), "{}", kernel.name);
        debug_assert_eq!(kernel.bindings[0], Binding::Uniform, "{}", kernel.name);
        if groups.contains(&0) {
            return Ok(());
        }
        let pipeline = self.pipelines.get(&self.device, kernel, constants);
        let params = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some(kernel.name),
            contents: bytemuck::bytes_of(params),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
        for (binding, &Slice { buffer, offset, size }) in (1..).zip(bindings) {
            let size = wgpu::BufferSize::new(size);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            entries.push(wgpu::BindGroupEntry { binding, resource });
        }
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.name),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let encoder = recorded.get_or_insert_with(|| self.device.create_command_encoder(&Default::default()));
        let mut pass =
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(kernel.name), ..Default::default() });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
        drop(pass);
        drop(recorded);
        self.check()
    }

    /// Submits what has been recorded and reads the first `bytes` of a buffer.
    pub(super) fn read(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>> {
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("read"), size: bytes, usage, mapped_at_creation: false };
        let staging = self.device.create_buffer(&descriptor);
        self.check()?;
        let recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut encoder = recorded.unwrap_or_else(|| self.device.create_command_encoder(&Default::default()));
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, bytes);
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| {});
        let lost = |error: String| Error::device(format!("wgpu:{}", self.adapter.index), error);
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| lost(error.to_string()))?;
        self.check()?;
        let view = staging.get_mapped_range(..).map_err(|error| lost(error.to_string()))?;
        Ok(view.to_vec())
    }

    /// Splits `n` workgroups over x and y.
    pub(super) fn groups(n: usize) -> [u32; 3] {
        let x = n.min(MAX_GROUPS as usize);
        [x as u32, n.div_ceil(x.max(1)) as u32, 1]
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("adapter", &self.adapter).finish_non_exhaustive()
    }
}
