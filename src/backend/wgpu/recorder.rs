//! Recorded dispatches that are not yet submitted, and their parameters.

use super::pipeline::Kernel;
use super::receipt::Receipt;
use super::timestamps::Timestamps;
use crate::backend::Work;
use web_time::Instant;

/// Bytes of parameters in one uniform buffer: those of some hundred dispatches.
const BLOCK: usize = 64 << 10;

/// One recorded kernel call.
pub(super) struct Recorded {
    pub(super) kernel: &'static Kernel,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) group: wgpu::BindGroup,
    /// Where its parameters begin in their uniform buffer.
    pub(super) params: u32,
    pub(super) groups: [u32; 3],
    pub(super) work: Work,
}

/// The dispatches of the next submission, in order.
pub(super) struct Recorder {
    /// Bytes that the start of parameters must be a multiple of.
    alignment: usize,
    pub(super) dispatches: Vec<Recorded>,
    blocks: Vec<Block>,
    /// Uploads that the next submission makes before its dispatches.
    pub(super) uploads: Vec<Upload>,
    /// The last submission that was made because its uploads were many.
    pub(super) last_upload: Option<wgpu::SubmissionIndex>,
    /// Operations submitted since the last result, and when the first of them were submitted.
    pub(super) submitted: Option<(u64, Instant)>,
    pub(super) receipt: Receipt,
}

/// Data on its way to a buffer.
pub(super) struct Upload {
    pub(super) staging: wgpu::Buffer,
    pub(super) buffer: wgpu::Buffer,
    /// Where the data begins in the buffer, in bytes.
    pub(super) offset: u64,
}

/// The parameters for one uniform buffer, which every submission reuses.
struct Block {
    buffer: wgpu::Buffer,
    bytes: Vec<u8>,
}

impl Recorder {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue, alignment: usize) -> Self {
        Self {
            alignment,
            dispatches: Vec::new(),
            blocks: Vec::new(),
            uploads: Vec::new(),
            last_upload: None,
            submitted: None,
            receipt: Receipt::new(device, queue),
        }
    }

    /// Floating-point operations of the dispatches.
    pub(super) fn flops(&self) -> u64 {
        self.dispatches.iter().map(|dispatch| dispatch.work.flops).sum()
    }

    /// Puts parameters into a uniform buffer; returns the buffer and their offset.
    pub(super) fn place(&mut self, device: &wgpu::Device, params: &[u8]) -> (wgpu::Buffer, u32) {
        let start = |block: &Block| block.bytes.len().next_multiple_of(self.alignment);
        let has_room = |block: &Block| start(block) + params.len() <= BLOCK;
        let i = self.blocks.iter().position(has_room).unwrap_or_else(|| {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            let (label, size) = (Some("params"), BLOCK as u64);
            let buffer =
                device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false });
            self.blocks.push(Block { buffer, bytes: Vec::new() });
            self.blocks.len() - 1
        });
        let at = start(&self.blocks[i]);
        let block = &mut self.blocks[i];
        block.bytes.resize(at, 0);
        block.bytes.extend_from_slice(params);
        (block.buffer.clone(), at as u32)
    }

    /// Encodes all uploads and dispatches, the latter in one pass, or with timestamps in a pass each.
    pub(super) fn encode(
        &mut self,
        queue: &wgpu::Queue,
        encoder: &mut wgpu::CommandEncoder,
        timestamps: Option<&Timestamps>,
    ) {
        for Upload { staging, buffer, offset } in self.uploads.drain(..) {
            encoder.copy_buffer_to_buffer(&staging, 0, &buffer, offset, staging.size());
        }
        for Block { buffer, bytes } in self.blocks.iter_mut().filter(|block| !block.bytes.is_empty()) {
            bytes.resize(bytes.len().next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT as usize), 0);
            queue.write_buffer(buffer, 0, bytes);
            bytes.clear();
        }
        let mut run = |dispatches: &[Recorded], timestamp_writes| {
            let descriptor = wgpu::ComputePassDescriptor { label: Some("crossalign"), timestamp_writes };
            let mut pass = encoder.begin_compute_pass(&descriptor);
            for Recorded { pipeline, group, params, groups: [x, y, z], .. } in dispatches {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, group, &[*params]);
                pass.dispatch_workgroups(*x, *y, *z);
            }
        };
        match timestamps {
            None => run(&self.dispatches, None),
            Some(timestamps) => {
                for (i, dispatch) in self.dispatches.iter().enumerate() {
                    run(std::slice::from_ref(dispatch), Some(timestamps.of(i)));
                }
                timestamps.resolve(encoder);
            }
        }
        self.receipt.hand_on(encoder);
        self.submitted.get_or_insert_with(|| (0, Instant::now())).0 += self.flops();
        self.dispatches.clear();
    }
}
