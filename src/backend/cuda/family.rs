//! Families of kernels: some are written for one compute capability, the others run on every card.
//!
//! A card runs one family, whatever the shapes, so that results stay batch-invariant.

use super::device::Device;
use super::element::Element;
use super::kernels::Kernels;
use super::tensor_map::{Boxed, TensorMap};
use crate::error::{Error, Result};

/// The kernels that a card runs where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `mma.sync` and `cp.async`: kernels/cuda, from compute capability 8.0 on.
    Mma,
    /// `wgmma` and TMA: kernels/cuda/sm90, at compute capability 9.0 only.
    Wgmma,
}

/// Names a family: `mma` or `wgmma`.
const VARIABLE: &str = "CROSSALIGN_CUDA_FAMILY";

impl Family {
    /// The family of an open device, and why it is not the one for its compute capability.
    ///
    /// # Errors
    /// When the environment names a family that there is not, or that the device does not run.
    pub(super) fn of(device: &Device, kernels: &Kernels) -> Result<(Self, Option<String>)> {
        let wanted = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        let wrong = |expected: &str| Error::argument(VARIABLE, wanted.clone().unwrap_or_default(), expected);
        let fits = device.capability()? == (9, 0);
        match wanted.as_deref() {
            Some("mma") => Ok((Self::Mma, fits.then(|| format!("by {VARIABLE}")))),
            Some("wgmma") if !fits => Err(wrong("mma: only compute capability 9.0 has wgmma")),
            Some("wgmma") => try_wgmma(device, kernels).map(|()| (Self::Wgmma, None)),
            Some(_) => Err(wrong("mma or wgmma")),
            None if !fits => Ok((Self::Mma, None)),
            // A driver that cannot run them still runs the others.
            None => Ok(match try_wgmma(device, kernels) {
                Ok(()) => (Self::Wgmma, None),
                Err(error) => (Self::Mma, Some(error.to_string())),
            }),
        }
    }
}

/// Encodes a tensor map and loads the kernels of compute capability 9.0.
///
/// # Errors
/// When the driver refuses either.
fn try_wgmma(device: &Device, kernels: &Kernels) -> Result<()> {
    // The driver looks at the address, not at what is there.
    const ADDRESS: u64 = 1 << 20;
    let boxed = Boxed { element: Element::F16, rows: 64, cols: 64, stride: 64, size: [64, 64] };
    TensorMap::new(device, ADDRESS, boxed)?;
    kernels.prepare("linear_sm90_64x32_f16")
}
