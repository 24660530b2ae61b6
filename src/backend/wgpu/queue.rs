//! The device, and the dispatches recorded for it.
//!
//! Kernels only record. Recorded dispatches are submitted when a submission is full, and when a result is read. Nothing
//! waits in between.

use super::adapter::{self, Choice, WgpuAdapter};
use super::cache::Cache;
use super::cooperative::Cooperative;
use super::fault::{Faults, Guarded, caught};
use super::mapping;
use super::pace::{self, Pace};
use super::pipeline::{Binding, Kernel, Pipelines};
use super::recorder::{Recorded, Recorder};
use super::timestamps::Timestamps;
use crate::backend::gpu::table_cache::TableCache;
use crate::backend::{Dispatch, Pending, Profile, Work};
use crate::block_on::block_on;
use crate::error::{Error, Result};
use crate::lock::lock;
use std::sync::{Arc, Mutex, Once};
use web_time::Instant;

/// Bytes of a vec4, by which a kernel may read a matrix.
pub(super) const VECTOR: u64 = 16;

/// Workgroups that one dimension of a dispatch may have (WebGPU's default limit).
const MAX_GROUPS: u32 = 65_535;

/// About the number of multiprocessors of a large GPU; the adapter does not tell.
const MULTIPROCESSORS: usize = 128;

/// Optional features, used if the adapter has them.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::PIPELINE_CACHE);

pub(super) struct Queue {
    pub(super) adapter: WgpuAdapter,
    pub(super) device: Guarded<wgpu::Device>,
    queue: Guarded<wgpu::Queue>,
    pub(super) pipelines: Pipelines,
    pub(super) recorder: Mutex<Recorder>,
    pub(super) tables: TableCache<wgpu::Buffer>,
    pace: Mutex<Pace>,
    /// The profile under way, if any.
    profile: Mutex<Option<Profiling>>,
    pub(super) faults: Arc<Faults>,
    /// Makes sure that a closed device is waited for only once.
    settled: Once,
    /// Bytes of the largest buffer.
    pub(super) max_buffer: u64,
    /// Bytes of the largest storage binding.
    pub(super) max_binding: u64,
    /// Bytes that a binding's start must be a multiple of: at least a vector, so that a binding of whole vectors ends
    /// within its buffer.
    pub(super) alignment: u64,
    /// Workgroups that one dimension of a dispatch may have.
    pub(super) max_groups: u32,
    /// Most floating-point operations of a dispatch.
    pub(super) max_flops: u64,
    /// Assumed number of multiprocessors: a product takes the large tile if it has at least one for each.
    pub(super) multiprocessors: usize,
    /// The kernel for layers stored in f16, if the adapter has cooperative matrices.
    pub(super) cooperative: Option<Cooperative>,
}

/// A profile, and the timestamps of its dispatches that are still on the device.
#[derive(Default)]
struct Profiling {
    profile: Profile,
    timed: Vec<Timestamps>,
}

impl Queue {
    /// The first of the adapters to choose from that opens.
    pub(super) async fn open(choice: Choice<'_>) -> Result<Self> {
        let mut failed = None;
        for (about, adapter) in adapter::choose(choice).await? {
            match Self::of(about, &adapter).await {
                Ok(queue) => return Ok(queue),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| Error::no_device("wgpu", "no adapter")))
    }

    async fn of(about: WgpuAdapter, adapter: &wgpu::Adapter) -> Result<Self> {
        let limits = adapter.limits();
        let mut features = adapter.features() & WANTED;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if about.cooperative_matrix.is_some() {
            features |= adapter::COOPERATIVE;
            // SAFETY: experimental features may let wgpu accept unsound shaders; the two that use them are ours,
            // validated by naga, and bound every access themselves.
            experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("crossalign"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            // Asks for small memory blocks: buffers are few and kept, so that large blocks gain nothing.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let faults = Faults::of(format!("wgpu:{}", about.index));
        let (device, queue) = faults
            .run_async(async { adapter.request_device(&descriptor).await })
            .await?
            .map_err(|error| faults.error(&error.to_string()))?;
        let (device, queue) = (Guarded::new(device), Guarded::new(queue));
        faults.watch(&device);
        let cache = faults.run(|| Cache::open(&device, &adapter.get_info()))?;
        let alignment = limits.min_uniform_buffer_offset_alignment as usize;
        let recorder = faults.run(|| Recorder::new(&device, &queue, alignment))?;
        let cooperative = about.cooperative_matrix.and_then(|side| Cooperative::of(side, about.subgroup.0));
        Ok(Self {
            adapter: about,
            queue,
            pipelines: Pipelines::new(cache),
            recorder: Mutex::new(recorder),
            tables: TableCache::default(),
            pace: Mutex::default(),
            profile: Mutex::default(),
            faults,
            settled: Once::new(),
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(VECTOR),
            max_groups: MAX_GROUPS,
            max_flops: pace::MAX_DISPATCH,
            multiprocessors: MULTIPROCESSORS,
            cooperative,
            device,
        })
    }

    /// Runs calls of wgpu. If they close the device, waits until it has finished its work: wgpu no longer does, and
    /// would free memory that is still in use.
    pub(super) fn run<T>(&self, calls: impl FnOnce() -> T) -> Result<T> {
        let result = self.faults.run(calls);
        if self.faults.is_closed() {
            self.settled.call_once(|| drop(caught(|| self.settle())));
        }
        result
    }

    fn settle(&self) {
        // Held so that nobody submits meanwhile.
        let _recorder = lock(&self.recorder);
        #[cfg(not(target_arch = "wasm32"))]
        // SAFETY: the driver's handle is not destroyed, and lives as long as `self.device`.
        unsafe {
            if let Some(device) = self.device.as_hal::<wgpu::hal::api::Vulkan>() {
                let _ = device.raw_device().device_wait_idle();
            }
        }
    }

    /// Submits what has been recorded and uploaded.
    pub(super) fn flush(&self) -> Result<()> {
        self.run(|| self.submit(&mut lock(&self.recorder), |_, _| ())).map(drop)
    }

    /// Waits for one submission, or for all. In a browser, which cannot, it returns at once.
    pub(super) fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: None };
        let waited = self.run(|| self.device.poll(poll))?;
        waited.map(drop).map_err(|error| self.faults.error(&error.to_string()))
    }

    /// Records one dispatch of `groups` workgroups; `bindings` follow the parameters, in the kernel's order.
    pub(super) fn record<P: bytemuck::NoUninit>(
        &self,
        kernel: &'static Kernel,
        constants: &[u32],
        params: &P,
        bindings: &[wgpu::BufferSlice<'_>],
        groups: [u32; 3],
        work: Work,
    ) -> Result<()> {
        debug_assert_eq!(kernel.bindings.len(), 1 + bindings.len(), "{}", kernel.name);
        debug_assert_eq!(kernel.bindings[0], Binding::Uniform, "{}", kernel.name);
        if groups.contains(&0) {
            return Ok(());
        }
        self.run(|| {
            let pipeline = self.pipelines.get(&self.device, kernel, constants);
            let mut recorder = lock(&self.recorder);
            if pace::is_full(recorder.flops(), work.flops, lock(&self.pace).rate) {
                self.submit(&mut recorder, |_, _| ());
            }
            let params = bytemuck::bytes_of(params);
            let (block, offset) = recorder.place(&self.device, params);
            let all = std::iter::once(block.slice(..params.len() as u64)).chain(bindings.iter().copied());
            let resources = all.map(|slice| slice.try_into().expect("no binding is empty"));
            let entries: Vec<_> =
                (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
            let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(kernel.name),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            recorder.dispatches.push(Recorded { kernel, pipeline, group, params: offset, groups, work });
        })
    }

    /// Submits what has been recorded, and the commands of `last` behind it.
    pub(super) fn submit(
        &self,
        recorder: &mut Recorder,
        last: impl FnOnce(&mut Recorder, &mut wgpu::CommandEncoder),
    ) -> wgpu::SubmissionIndex {
        let mut profile = lock(&self.profile);
        let timestamps = profile.as_mut().and_then(|profiling| self.start(&mut profiling.profile, recorder));
        let mut encoder = self.device.create_command_encoder(&Default::default());
        recorder.encode(&self.queue, &mut encoder, timestamps.as_ref());
        last(recorder, &mut encoder);
        let submission = self.queue.submit([encoder.finish()]);
        if let (Some(profiling), Some(timestamps)) = (&mut *profile, timestamps) {
            timestamps.map();
            profiling.timed.push(timestamps);
        }
        submission
    }

    /// Submits what has been recorded, and a download of the first `sizes[i]` bytes of each buffer; one wait is for
    /// all.
    pub(super) fn read<const N: usize>(
        &self,
        buffers: [&wgpu::Buffer; N],
        sizes: [u64; N],
    ) -> Result<Pending<'_, [Vec<u8>; N]>> {
        let bytes: u64 = sizes.iter().sum();
        if bytes == 0 {
            return Ok(Pending::ready([const { Vec::new() }; N]));
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = Guarded::new(self.create(bytes + 4, usage, false)?);
        let (submission, token, flops, begun, mapped) = self.run(|| {
            let mut recorder = lock(&self.recorder);
            let mut token = 0;
            let submission = self.submit(&mut recorder, |recorder, encoder| {
                let mut end = 0;
                for (buffer, bytes) in buffers.into_iter().zip(sizes) {
                    encoder.copy_buffer_to_buffer(buffer, 0, &staging, end, bytes);
                    end += bytes;
                }
                token = recorder.receipt.copy(encoder, &staging, end);
            });
            recorder.receipt.renew(&self.queue);
            let mapped = mapping::begin(&staging);
            let (flops, begun) = recorder.submitted.take().unwrap_or((0, Instant::now()));
            (submission, token, flops, begun, mapped)
        })?;
        let result = async move {
            self.wait(Some(submission))?;
            mapped.await;
            lock(&self.pace).measure(flops, begun);
            self.run(|| self.time_profile())?;
            let found = self.run(|| {
                let view = staging.get_mapped_range(..)?;
                let (mut rest, receipt) = view.split_at(bytes as usize);
                let found = sizes.map(|bytes| {
                    let (found, others) = rest.split_at(bytes as usize);
                    rest = others;
                    found.to_vec()
                });
                Ok((receipt == token.to_ne_bytes()).then_some(found))
            })?;
            let found = found.map_err(|error: wgpu::MapRangeError| self.faults.error(&error.to_string()))?;
            // The work left out may have been uploads of weights: no later result can be trusted.
            found.ok_or_else(|| self.faults.close("returned no result: it ended work without doing it"))
        };
        // A profile needs the times of its dispatches before it ends.
        let profiles = lock(&self.profile).is_some();
        if profiles { block_on(result).map(Pending::ready) } else { Ok(Pending::awaited(result)) }
    }

    /// Moves the measured times into the profile.
    fn time_profile(&self) {
        if let Some(Profiling { profile, timed }) = &mut *lock(&self.profile) {
            for timestamps in timed.drain(..) {
                let times = timestamps.times(self.queue.get_timestamp_period());
                let dispatches = profile.dispatches[timestamps.first..].iter_mut().zip(times);
                dispatches.for_each(|(dispatch, time)| dispatch.time = Some(time));
            }
        }
    }

    /// Adds a submission of what is recorded to the profile, and creates its timestamps if the adapter has them.
    fn start(&self, profile: &mut Profile, recorder: &Recorder) -> Option<Timestamps> {
        let first = profile.dispatches.len();
        profile.submissions += 1;
        profile.largest_submission = profile.largest_submission.max(recorder.flops());
        profile.dispatches.extend(recorder.dispatches.iter().map(|dispatch| Dispatch {
            kernel: dispatch.kernel.name,
            workgroups: dispatch.groups,
            work: dispatch.work,
            time: None,
        }));
        let count = recorder.dispatches.len();
        let timed = count > 0 && self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        timed.then(|| Timestamps::new(&self.device, first, count))
    }

    /// Runs `work` and profiles what it submits.
    pub(super) fn profile(&self, work: impl FnOnce()) -> Profile {
        *lock(&self.profile) = Some(Profiling::default());
        work();
        lock(&self.profile).take().unwrap_or_default().profile
    }

    /// How many parts of a kernel's work, of `flops` operations each, one dispatch takes; at least 1.
    pub(super) fn at_once(&self, flops: usize) -> usize {
        (self.max_flops as usize / flops.max(1)).max(1)
    }

    /// Splits `n` workgroups over x and y.
    pub(super) fn groups(&self, n: usize) -> [u32; 3] {
        let x = n.min(self.max_groups as usize);
        [x as u32, n.div_ceil(x.max(1)) as u32, 1]
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let _ = self.run(|| self.pipelines.save());
        if self.faults.is_closed() {
            // Leaks one handle each: dropping the last handle of a lost device may panic, whichever tensor holds it, so
            // none may be the last. Buffers are freed all the same.
            std::mem::forget((wgpu::Device::clone(&self.device), wgpu::Queue::clone(&self.queue)));
        }
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
    use crate::backend::args::{AttentionArgs, LinearArgs};
    use crate::backend::{Backend, Epilogue, Precision, Shape, Shaped, Wgpu, WgpuTensor};

    #[machine::has(vulkan)]
    #[test]
    fn what_the_driver_reports_is_an_error() {
        let queue = block_on(Queue::open(Choice::Number(0))).unwrap();
        let size = queue.device.limits().max_buffer_size + 4;
        let error = queue.buffer(size).unwrap_err().to_string();
        assert!(error.contains("at most"), "{error}");
        // A failed allocation is reported the same way: not by the call, but through the device's error callback.
        let usage = wgpu::BufferUsages::STORAGE;
        let descriptor = wgpu::BufferDescriptor { label: Some("too large"), size, usage, mapped_at_creation: false };
        drop(queue.device.create_buffer(&descriptor));
        let error = queue.buffer(16).unwrap_err().to_string();
        assert!(error.starts_with("device wgpu:0: ") && error.contains("too large"), "{error}");
        assert!(queue.buffer(16).is_ok(), "an error is reported once");
    }

    #[machine::has(vulkan)]
    #[test]
    fn a_lost_device_is_an_error() {
        let queue = block_on(Queue::open(Choice::Number(0))).unwrap();
        let buffer = queue.upload(&[1u32, 2, 3]).unwrap();
        assert_eq!(queue.read([&buffer], [8]).unwrap().wait().unwrap(), [[1, 0, 0, 0, 2, 0, 0, 0]]);
        queue.device.destroy();
        for _ in 0..2 {
            assert!(queue.read([&buffer], [8]).and_then(Pending::wait).is_err());
        }
    }

    /// The operations of the dispatches that a layer records for `sequences` sequences of `tokens` tokens; none is
    /// submitted.
    fn layer(width: usize, heads: usize, tokens: usize, sequences: usize) -> Result<Vec<u64>> {
        let device = Wgpu::new(Some(0))?;
        // Pretends that the device is fast, so that no kernel alone fills a submission.
        lock(&device.0.pace).measure(u64::MAX, Instant::now());
        let taken = std::cell::RefCell::new(Vec::new());
        let take = || {
            let dispatches = std::mem::take(&mut lock(&device.0.recorder).dispatches);
            taken.borrow_mut().extend(dispatches.iter().map(|dispatch| dispatch.work.flops));
        };
        let tensor = |cols| device.allocate(Shape::new(tokens * sequences, cols));
        let linear = |input: &WgpuTensor, outputs: usize| {
            let shape = Shape::new(outputs, input.shape().cols);
            let layer = device.pack(shape, &vec![0.0; shape.len()], None, Precision::F32)?;
            let mut out = tensor(outputs)?;
            device.linear(LinearArgs { input, layer: &layer, epilogue: Epilogue::Store, out: &mut out })?;
            take();
            Ok::<_, Error>(out)
        };
        let stream = tensor(width)?;
        let offsets: Vec<u32> = (0..=sequences).map(|sequence| (sequence * tokens) as u32).collect();
        let (queries, keys_values, mut out) = (linear(&stream, width)?, linear(&stream, 2 * width)?, tensor(width)?);
        device.attention(AttentionArgs {
            queries: &queries,
            keys_values: &keys_values,
            query_offsets: &offsets,
            key_offsets: &offsets,
            heads,
            causal: false,
            out: &mut out,
        })?;
        take();
        linear(&linear(&linear(&out, width)?, 4 * width)?, width)?;
        Ok(taken.take())
    }

    #[machine::has(vulkan)]
    #[test]
    fn the_towers_submissions_are_bounded() {
        // The batches that fit the activation budget, and that of B/32 with 61 views.
        let towers = [
            ("B/32", 768, 12, 50, 61),
            ("L/14@336", 1024, 16, 577, 11),
            ("B/32's texts", 512, 8, 77, 170),
            ("L/14's texts", 768, 12, 77, 113),
        ];
        for (name, width, heads, tokens, sequences) in towers {
            let flops = layer(width, heads, tokens, sequences).unwrap();
            let largest = |rate| {
                let (mut held, mut largest) = (0, 0);
                for &next in flops.iter().cycle().take(24 * flops.len()) {
                    held = if pace::is_full(held, next, rate) { next } else { held + next };
                    largest = largest.max(held);
                }
                largest
            };
            let (fast, first, dispatch) = (largest(Some(1e15)), largest(None), flops.iter().copied().max().unwrap());
            let [all, fast_, first_, dispatch_] =
                [flops.iter().sum(), fast, first, dispatch].map(|flops: u64| flops as f64 / 1e9);
            println!(
                "{name}: {all:.1} GFLOP a layer; a submission {fast_:.1} at most, {first_:.1} at first; {dispatch_:.1} a dispatch"
            );
            assert!(dispatch <= pace::MAX_DISPATCH && first <= pace::MAX_DISPATCH, "{name}");
            assert!(fast <= pace::MAX_SUBMISSION && fast > pace::MAX_SUBMISSION / 2, "{name}");
        }
    }
}
