//! What a GPU did: dispatches, bytes, operations and, where the device has timestamps, seconds.

use std::time::Duration;

/// The dispatches of some calls, in order.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Command buffers submitted.
    pub submissions: usize,
    /// Floating-point operations of the largest submission.
    pub largest_submission: u64,
    /// Their dispatches.
    pub dispatches: Vec<Dispatch>,
}

/// One kernel call as the device ran it.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The kernel, by the name of its file.
    pub kernel: &'static str,
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// Bytes that it must move and operations that it must compute.
    pub work: Work,
    /// Time on the device, by its timestamps; `None` without them.
    pub time: Option<Duration>,
}

/// What a kernel call must move and compute at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes of its operands, each read or written once; operands updated in place count twice.
    pub bytes: u64,
    /// Floating-point operations; a multiply-add is two. `crop_resize` counts integer ones.
    pub flops: u64,
}

#[cfg(feature = "wgpu")]
impl Work {
    /// The work of moving `words` words of 4 bytes and of `flops` operations.
    pub(crate) fn words(words: usize, flops: usize) -> Self {
        Self { bytes: 4 * words as u64, flops: flops as u64 }
    }
}
