//! The adapter's own rates, measured by two shaders that do nothing else.

use std::time::Instant;
use wgpu::util::DeviceExt;

/// Invocations of either shader: enough for any GPU's units.
const GROUPS: u32 = 1024;
const INVOCATIONS: f64 = GROUPS as f64 * 256.0;
/// f32 operations of a step of `fma_chains`.
const FLOPS: f64 = 2.0 * 8.0 * 4.0;

/// An adapter's rates, 10⁹ a second: the best of some repetitions.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    /// f32 operations; a multiply-add is two.
    pub fma: f64,
    /// Bytes read from its memory.
    pub read: f64,
}

impl Ceiling {
    /// Of the adapter with this name; `scale` 1 for a GPU, less for software.
    pub fn measure(name: &str, scale: f64) -> Self {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        let adapters = pollster::block_on(wgpu::Instance::new(descriptor).enumerate_adapters(wgpu::Backends::PRIMARY));
        let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == name).expect("the same adapters");
        let limits = adapter.limits();
        let bytes = (limits.max_storage_buffer_binding_size as f64).min(1e9 * scale) as u64 / 4096 * 4096;
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() };
        let device = pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
        let steps = (20_000.0 * scale).max(50.0);
        let flops = INVOCATIONS * FLOPS * steps;
        Self {
            fma: flops / fastest(&device, "fma_chains", steps, 16) / 1e9,
            read: bytes as f64 / fastest(&device, "read_all", 1.0, bytes) / 1e9,
        }
    }
}

/// Seconds of the fastest repetition of a shader, on an input of so many bytes.
fn fastest((device, queue): &(wgpu::Device, wgpu::Queue), entry: &str, steps: f64, bytes: u64) -> f64 {
    let module = device.create_shader_module(wgpu::include_wgsl!("ceiling.wgsl"));
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &[("STEPS", steps)], ..Default::default() },
        cache: None,
    });
    let contents: Vec<u8> = bytemuck::cast_slice(&[0.5f32, 1.0, 0.0, 0.0]).repeat(bytes as usize / 16);
    let usage = wgpu::BufferUsages::STORAGE;
    let input =
        device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents: &contents, usage });
    let size = INVOCATIONS as u64 * 4;
    let out = device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
    let entries = [
        wgpu::BindGroupEntry { binding: 0, resource: input.as_entire_binding() },
        wgpu::BindGroupEntry { binding: 1, resource: out.as_entire_binding() },
    ];
    let layout = pipeline.get_bind_group_layout(0);
    let group =
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
    let run = || {
        let start = Instant::now();
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(GROUPS, 1, 1);
        drop(pass);
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).expect("a device");
        start.elapsed().as_secs_f64()
    };
    run();
    (0..10).map(|_| run()).fold(f64::INFINITY, f64::min)
}
