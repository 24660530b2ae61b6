//! The table of kernels, and their pipelines.

use super::cache::Cache;
use crate::lock::lock;
use std::collections::HashMap;
use std::sync::Mutex;

/// A WGSL module with one entry point of its name.
pub(super) struct Kernel {
    pub(super) name: &'static str,
    /// By number, all in group 0; binding 0 has the parameters.
    pub(super) bindings: &'static [Binding],
    /// The names of the pipeline constants.
    pub(super) overrides: &'static [&'static str],
    pub(super) source: &'static str,
}

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    Uniform,
    Read,
    ReadWrite,
}

/// The table that `build.rs` generated from kernels/wgsl: for each kernel a module with its constants.
pub(super) mod kernels {
    use super::{Binding, Kernel};
    include!(concat!(env!("OUT_DIR"), "/wgsl.rs"));
}

/// Pipelines by kernel and constants, created on first use.
pub(super) struct Pipelines {
    /// Whether indices and loops are checked at run time.
    checked: bool,
    made: Mutex<HashMap<(&'static str, Vec<u32>), wgpu::ComputePipeline>>,
    cache: Option<Cache>,
}

impl Pipelines {
    pub(super) fn new(cache: Option<Cache>) -> Self {
        Self { checked: false, made: Mutex::default(), cache }
    }

    /// Enables run-time checks of indices and loops from here on.
    pub(super) fn check(&mut self) {
        self.checked = true;
        lock(&self.made).clear();
    }

    /// The pipeline of a kernel; `constants` are in the order of [`Kernel::overrides`].
    pub(super) fn get(
        &self,
        device: &wgpu::Device,
        kernel: &'static Kernel,
        constants: &[u32],
    ) -> wgpu::ComputePipeline {
        let mut pipelines = lock(&self.made);
        let pipeline = pipelines.entry((kernel.name, constants.to_vec()));
        pipeline.or_insert_with(|| self.create(device, kernel, constants)).clone()
    }

    fn create(&self, device: &wgpu::Device, kernel: &Kernel, constants: &[u32]) -> wgpu::ComputePipeline {
        let label = Some(kernel.name);
        let source = wgpu::ShaderSource::Wgsl(kernel.source.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label, source };
        let checks =
            if self.checked { wgpu::ShaderRuntimeChecks::checked() } else { wgpu::ShaderRuntimeChecks::unchecked() };
        // SAFETY: the modules are the crate's own, validated by `build.rs`. They index within their bindings, because
        // the check of the arguments has compared all shapes, offsets and indices, from which the host code derives
        // parameters and windows; every loop is bounded by one of these parameters. The tests run each kernel checked
        // and unchecked, on odd shapes.
        let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
        let entry = |(number, binding): (u32, &Binding)| wgpu::BindGroupLayoutEntry {
            binding: number,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match binding {
                    Binding::Uniform => wgpu::BufferBindingType::Uniform,
                    Binding::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Binding::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: *binding == Binding::Uniform,
                min_binding_size: None,
            },
            count: None,
        };
        let entries: Vec<wgpu::BindGroupLayoutEntry> = (0..).zip(kernel.bindings).map(entry).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let values: Vec<(&str, f64)> =
            kernel.overrides.iter().zip(constants).map(|(&name, &value)| (name, f64::from(value))).collect();
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some(kernel.name),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &values,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.as_ref().map(|cache| &cache.pipelines),
        })
    }

    /// Stores the compiled pipelines for the next start.
    pub(super) fn save(&self) {
        self.cache.iter().for_each(Cache::save);
    }
}
