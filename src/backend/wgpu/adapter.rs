//! The adapters of the machine, and the choice among them.

use super::fault::caught_async;
use crate::error::{Error, Result};

/// An adapter of this machine, as `crossalign devices` shows it.
#[derive(Clone, Debug)]
pub struct WgpuAdapter {
    /// Its index: the `N` of `wgpu:N`.
    pub index: usize,
    /// The name that the driver gives it.
    pub name: String,
    /// Its address on the PCI bus, if the driver tells it.
    pub pci: Option<String>,
    /// Vulkan, Metal or Dx12; in a browser WebGPU.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether it is software on the CPU, such as llvmpipe or SwiftShader.
    pub software: bool,
    /// Whether shaders may compute in f16.
    pub f16: bool,
    /// Smallest and largest subgroup.
    pub subgroup: (u32, u32),
    /// Side of the cooperative matrices (f16 products, f32 sums) that linear layers stored in f16 run on: 16 or 8,
    /// or `None`.
    pub cooperative_matrix: Option<u32>,
    /// Bytes of the device's own memory, if the driver tells them.
    pub memory: Option<u64>,
    /// Bytes of the largest storage binding.
    pub binding: u64,
}

impl std::fmt::Display for WgpuAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let yes = |flag, name| if flag { name } else { "" };
        let cooperative = self.cooperative_matrix.map(|side| format!(", cooperative matrix {side}×{side}"));
        let (min, max) = self.subgroup;
        let subgroup = if min == max { min.to_string() } else { format!("{min}–{max}") };
        write!(
            f,
            "{}{}, {}{}{}{}, subgroup {subgroup}, bindings of {} MiB{}{}{}",
            self.name,
            self.pci.as_ref().map(|address| format!(" at {address}")).unwrap_or_default(),
            self.backend,
            if self.driver.is_empty() { "" } else { ", " },
            self.driver,
            self.memory.map(|bytes| format!(", {} MiB", bytes >> 20)).unwrap_or_default(),
            self.binding >> 20,
            yes(self.f16, ", f16"),
            cooperative.unwrap_or_default(),
            yes(self.software, ", software"),
        )
    }
}

impl WgpuAdapter {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, features) = (adapter.get_info(), adapter.features());
        Self {
            index,
            name: if info.name.is_empty() { "an adapter without a name".into() } else { info.name },
            pci: Some(info.device_pci_bus_id).filter(|address| !address.is_empty()),
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            software: info.device_type == wgpu::DeviceType::Cpu,
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroup: (info.subgroup_min_size, info.subgroup_max_size),
            cooperative_matrix: cooperative_matrix(adapter),
            memory: memory(adapter),
            binding: adapter.limits().max_storage_buffer_binding_size,
        }
    }
}

/// A browser does not tell it.
#[cfg(target_arch = "wasm32")]
fn memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// The largest heap of the device's own memory, asked of Vulkan, since wgpu does not tell it.
#[cfg(not(target_arch = "wasm32"))]
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the driver's handles are read, not destroyed, and live as long as `adapter`.
    let heaps = unsafe {
        let adapter = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let own = heaps.memory_heaps_as_slice().iter().filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0);
    own.map(|heap| heap.size).max()
}

/// The features that the kernels on cooperative matrices need; they also need one fixed subgroup size.
pub(super) const COOPERATIVE: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// The largest side that the adapter reports and that a kernel is written for.
fn cooperative_matrix(adapter: &wgpu::Adapter) -> Option<u32> {
    use wgpu::CooperativeScalarType::{F16, F32};
    let info = adapter.get_info();
    if !adapter.features().contains(COOPERATIVE) || info.subgroup_min_size != info.subgroup_max_size {
        return None;
    }
    let found = adapter.cooperative_matrix_properties();
    [16, 8].into_iter().find(|&side| {
        let fits = |p: &wgpu::CooperativeMatrixProperties| {
            [p.m_size, p.n_size, p.k_size] == [side; 3] && (p.ab_type, p.cr_type) == (F16, F32)
        };
        found.iter().any(fits)
    })
}

/// The backends of wgpu that the kernels run on. The variable `WGPU_BACKEND` chooses among them, as in other programs.
const BACKENDS: wgpu::Backends = wgpu::Backends::PRIMARY;

/// What it means that there is no adapter.
const MISSING: &str = if cfg!(target_arch = "wasm32") {
    "no adapter: this browser has no WebGPU, or does not offer it for this GPU or to this page (see \
     docs/gpu-troubleshooting.md)"
} else {
    "no adapter: there is no Vulkan, Metal or Direct3D 12 driver for a GPU on this machine, or this user may not open it \
     (see docs/gpu-troubleshooting.md)"
};

/// The variable with a part of the name of the adapter to take if none is asked for, as in other programs.
const NAME: &str = "WGPU_ADAPTER_NAME";

/// An adapter's description, and the adapter.
type Found = (WgpuAdapter, wgpu::Adapter);

/// All adapters that can compute, sorted by kind: discrete, integrated, virtual, other, software. A browser has one.
pub(super) async fn enumerate() -> Result<Vec<Found>> {
    caught_async(found()).await.map_err(|panic| Error::device("wgpu", panic))
}

async fn found() -> Vec<Found> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = BACKENDS & wgpu::Backends::from_env().unwrap_or(BACKENDS);
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
    adapters
        .retain(|adapter| adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters.into_iter().enumerate().map(|(index, adapter)| (WgpuAdapter::new(index, &adapter), adapter)).collect()
}

/// Which adapter to take.
pub(super) enum Choice<'a> {
    /// The best real GPU that opens; or the adapter that the variable `WGPU_ADAPTER_NAME` names.
    Best,
    Number(usize),
    /// By a part of its name, ignoring case.
    Name(&'a str),
}

/// The candidates, of which the first that opens is taken; never empty.
pub(super) async fn choose(choice: Choice<'_>) -> Result<Vec<Found>> {
    let mut adapters = enumerate().await?;
    if adapters.is_empty() {
        return Err(Error::no_device("wgpu", MISSING));
    }
    let variable = std::env::var(NAME).ok().filter(|name| !name.is_empty());
    match (choice, variable) {
        (Choice::Number(index), _) if index < adapters.len() => Ok(vec![adapters.swap_remove(index)]),
        (Choice::Number(index), _) => {
            let reason = format!("there are {} adapters, counted from 0", adapters.len());
            Err(Error::device(format!("wgpu:{index}"), reason))
        }
        (Choice::Name(name), _) => named(adapters, name, &format!("wgpu:{name}")),
        (Choice::Best, Some(name)) => named(adapters, &name, &format!("{NAME}={name}")),
        (Choice::Best, None) => {
            let software = adapters[0].0.name.clone();
            adapters.retain(|(about, _)| !about.software);
            if adapters.is_empty() {
                let reason = format!("no GPU, only software ({software}): ask for it as wgpu:0");
                return Err(Error::no_device("wgpu", reason));
            }
            Ok(adapters)
        }
    }
}

/// The adapters whose name contains `part`, ignoring case; `asked` is for the error.
fn named(mut adapters: Vec<Found>, part: &str, asked: &str) -> Result<Vec<Found>> {
    let names: Vec<String> = adapters.iter().map(|(about, _)| about.name.clone()).collect();
    adapters.retain(|(about, _)| about.name.to_lowercase().contains(&part.to_lowercase()));
    if adapters.is_empty() {
        return Err(Error::device(asked, format!("no adapter has this in its name: there are {}", names.join(", "))));
    }
    Ok(adapters)
}
