//! `crossalign devices`

use super::print;
use crate::backend::{Precision, SimdLevel};
use crate::block_on::block_on;
use crate::engine::{self, Device};
use crate::error::Result;
use std::process::ExitCode;

/// List the devices that --device takes, and what --precision auto is on each
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let mut lines = String::new();
        let describe = |device: &Device| {
            let described = |(device, notes): engine::Taken| {
                let notes: String = notes.iter().map(|note| format!(" ({note})")).collect();
                with_precision(&device.facts().description, device.facts().precision) + &notes
            };
            block_on(engine::open(device, 0, None)).map(described)
        };
        for (name, device) in [
            ("auto", Device::Auto),
            ("cpu", Device::Cpu),
            ("wgpu", Device::Wgpu(None)),
            ("cuda", Device::Cuda(0)),
            ("reference", Device::Reference),
        ] {
            let line = describe(&device).unwrap_or_else(|error| format!("not available ({error})"));
            lines += &format!("{name:10} {line}\n");
        }
        #[cfg(feature = "cuda")]
        for index in 1..crate::backend::Cuda::count().unwrap_or(0) {
            let device = Device::Cuda(index);
            let line = describe(&device).unwrap_or_else(|error| format!("not available ({error})"));
            lines += &format!("{:10} {line}\n", device.to_string());
        }
        #[cfg(feature = "wgpu")]
        for adapter in crate::backend::Wgpu::adapters() {
            let precision = engine::auto_precision(adapter.cooperative_matrix.is_some());
            let line = with_precision(&adapter.to_string(), precision);
            lines += &format!("{:10} {line}\n", format!("wgpu:{}", adapter.index));
        }
        let levels: Vec<String> =
            SimdLevel::ALL.into_iter().filter(|level| level.is_available()).map(|level| format!("{level:?}")).collect();
        print(format!("{lines}SIMD levels of this processor: {}\n", levels.join(", ")))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn with_precision(device: &str, precision: Precision) -> String {
    format!("{device}, precision {precision}")
}
