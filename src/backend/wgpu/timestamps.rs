//! Timing of dispatches by the device's timestamps.

use std::time::Duration;

/// Two timestamps for each of some dispatches, and the buffers to read them.
pub(super) struct Timestamps {
    /// The index in the profile of the first of these dispatches.
    pub(super) first: usize,
    sets: Vec<wgpu::QuerySet>,
    resolved: wgpu::Buffer,
    read: wgpu::Buffer,
}

/// Dispatches in a query set, which takes two queries for each.
const PER_SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

impl Timestamps {
    /// Timestamps for `dispatches` dispatches, at least one; `first` is the index of the first in the profile.
    pub(super) fn new(device: &wgpu::Device, first: usize, dispatches: usize) -> Self {
        let set = |first: usize| {
            let count = 2 * PER_SET.min(dispatches - first) as u32;
            device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count })
        };
        let buffer = |usage| {
            let size = dispatches as u64 * 16;
            device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        Self {
            first,
            sets: (0..dispatches).step_by(PER_SET).map(set).collect(),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            read: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        }
    }

    /// The queries that the pass of dispatch `i` writes.
    pub(super) fn of(&self, i: usize) -> wgpu::ComputePassTimestampWrites<'_> {
        let query = 2 * (i % PER_SET) as u32;
        wgpu::ComputePassTimestampWrites {
            query_set: &self.sets[i / PER_SET],
            beginning_of_pass_write_index: Some(query),
            end_of_pass_write_index: Some(query + 1),
        }
    }

    /// Encodes the copy of all timestamps to the buffer; comes behind all passes.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        for (i, set) in self.sets.iter().enumerate() {
            encoder.resolve_query_set(set, 0..set.count(), &self.resolved, (i * PER_SET * 16) as u64);
        }
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.read, 0, self.read.size());
    }

    /// Maps the buffer for reading; comes behind the submission.
    pub(super) fn map(&self) {
        self.read.map_async(wgpu::MapMode::Read, .., |_| {});
    }

    /// The dispatches' times, once the device has finished; `period` is the length of a tick in nanoseconds.
    pub(super) fn times(&self, period: f32) -> Vec<Duration> {
        let Ok(ticks) = self.read.get_mapped_range(..) else { return Vec::new() };
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&ticks);
        let time = |ticks: &[u64]| ticks[1].saturating_sub(ticks[0]) as f64 * f64::from(period) / 1e9;
        ticks.chunks_exact(2).map(|ticks| Duration::from_secs_f64(time(ticks))).collect()
    }
}
