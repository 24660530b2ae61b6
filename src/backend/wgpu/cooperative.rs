//! The kernels of `linear` that run on cooperative matrices.

use super::pipeline::Kernel;
use super::pipeline::kernels::{linear_cooperative_8, linear_cooperative_16};

/// The kernel of `linear` for cooperative matrices of one side.
#[derive(Clone, Copy)]
pub(super) struct Cooperative {
    pub(super) kernel: &'static Kernel,
    /// Invocations of a subgroup.
    pub(super) subgroup: u32,
    /// Side of a workgroup's tile of the product.
    pub(super) tile: u32,
}

impl Cooperative {
    /// `None` for a side that no kernel is written for.
    pub(super) fn of(side: u32, subgroup: u32) -> Option<Self> {
        let (kernel, tile) = match side {
            8 => (&linear_cooperative_8::KERNEL, linear_cooperative_8::TILE),
            16 => (&linear_cooperative_16::KERNEL, linear_cooperative_16::TILE),
            _ => return None,
        };
        Some(Self { kernel, subgroup, tile })
    }

    /// The same kernel from another source, which is leaked.
    pub(super) fn with_source(self, source: String) -> Self {
        let kernel = Kernel { source: source.leak(), ..*self.kernel };
        Self { kernel: Box::leak(Box::new(kernel)), ..self }
    }
}
