//! The device's buffers: creating and filling them, and making room for them.

use super::queue::{Queue, VECTOR};
use super::recorder::Upload;
use crate::error::{Error, Result};
use crate::lock::lock;

/// Most bytes of uploads in one submission: until it has run, they are in memory twice.
const MAX_UPLOAD: usize = 64 << 20;

impl Queue {
    /// A zeroed buffer for kernels to read and write, of whole vectors and never empty, since a binding may not be.
    pub(super) fn buffer(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let size = bytes.next_multiple_of(VECTOR).max(VECTOR);
        if size > self.max_buffer {
            let expected = format!("at most {} bytes on {}", self.max_buffer, self.adapter.name);
            return Err(Error::argument("tensor", format!("{size} bytes"), expected));
        }
        let copies = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        self.create(size, wgpu::BufferUsages::STORAGE | copies, false)
    }

    /// Creates a buffer; if there is no room for it, makes room and tries again.
    pub(super) fn create(
        &self,
        size: u64,
        usage: wgpu::BufferUsages,
        mapped_at_creation: bool,
    ) -> Result<wgpu::Buffer> {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation };
        let create = || self.run(|| self.device.create_buffer(&descriptor));
        match create() {
            Err(Error::OutOfMemory { .. }) => self.free().and_then(|()| create()).map_err(|error| match error {
                Error::OutOfMemory { device, reason } => {
                    let all = self.adapter.memory.map(|bytes| format!(" of {bytes} in all")).unwrap_or_default();
                    Error::OutOfMemory { device, reason: format!("{reason}: {size} bytes more{all} do not fit") }
                }
                other => other,
            }),
            other => other,
        }
    }

    /// Frees memory that is not in use: kept tables, and memory of work that has finished.
    fn free(&self) -> Result<()> {
        self.tables.clear();
        self.flush()?;
        self.wait(None)
    }

    /// A buffer that holds `data`.
    pub(super) fn upload<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<wgpu::Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(bytes.len() as u64)?;
        for (i, part) in bytes.chunks(MAX_UPLOAD).enumerate() {
            // A staging buffer, not `write_buffer`, which loses the device when memory is short.
            let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::MAP_WRITE;
            let staging = self.create((part.len() as u64).next_multiple_of(4), usage, true)?;
            let before = self.run(|| {
                staging.get_mapped_range_mut(..)?.slice(..part.len()).copy_from_slice(part);
                staging.unmap();
                let mut recorder = lock(&self.recorder);
                recorder.uploads.push(Upload { staging, buffer: buffer.clone(), offset: (i * MAX_UPLOAD) as u64 });
                let uploaded: u64 = recorder.uploads.iter().map(|upload| upload.staging.size()).sum();
                let is_full = uploaded >= MAX_UPLOAD as u64;
                Ok(is_full.then(|| {
                    let this = self.submit(&mut recorder, |_, _| ());
                    recorder.last_upload.replace(this)
                }))
            })?;
            let before = before.map_err(|error: wgpu::MapRangeError| self.faults.error(&error.to_string()))?;
            if let Some(Some(before)) = before {
                self.wait(Some(before))?;
            }
        }
        Ok(buffer)
    }

    /// A buffer that holds `data` and is kept, since each forward pass asks for it again.
    pub(super) fn table<T: bytemuck::NoUninit>(&self, data: &[T]) -> Result<wgpu::Buffer> {
        self.tables.get(bytemuck::cast_slice(data), || self.upload(data))
    }
}
