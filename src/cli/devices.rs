//! `crossalign devices`

use super::print;
use crate::backend::SimdLevel;
use crate::engine;
use crate::error::Result;
use std::process::ExitCode;

/// List the devices that --device takes
#[derive(clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let mut lines = String::new();
        for name in ["auto", "cpu", "wgpu", "cuda", "reference"] {
            let line = match engine::open(name, 0, None) {
                Ok(device) => device.describe(),
                Err(error) => format!("not available ({error})"),
            };
            lines += &format!("{name:10} {line}\n");
        }
        #[cfg(feature = "cuda")]
        for index in 1..crate::backend::Cuda::count().unwrap_or(0) {
            let name = format!("cuda:{index}");
            let line = engine::open(&name, 0, None).map_or_else(|error| error.to_string(), |cuda| cuda.describe());
            lines += &format!("{name:10} {line}\n");
        }
        #[cfg(feature = "wgpu")]
        for adapter in crate::backend::Wgpu::adapters() {
            lines += &format!("{:10} {adapter}\n", format!("wgpu:{}", adapter.index));
        }
        let levels: Vec<String> =
            SimdLevel::ALL.into_iter().filter(|level| level.is_available()).map(|level| format!("{level:?}")).collect();
        print(&format!("{lines}SIMD levels of this processor: {}\n", levels.join(", ")))?;
        Ok(ExitCode::SUCCESS)
    }
}
