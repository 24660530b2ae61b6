//! Guards against use after `fork`: a child has its parent's memory, but neither its threads nor its GPUs.

use crate::error::{Error, Result};
use std::ops::Deref;

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The calling process; a browser's page is one, and has no number.
    pub(crate) fn current() -> Self {
        Self(if cfg!(target_arch = "wasm32") { 0 } else { std::process::id() })
    }

    /// Checks that the caller is still the process that opened a device.
    ///
    /// # Errors
    /// When the caller is a forked child.
    pub(crate) fn check(self, device: &str) -> Result<()> {
        let reason = "this process was forked after the device was opened: open it in the child, before the parent opens \
                      one, or start processes without fork (in Python the start method spawn)";
        if self == Self::current() { Ok(()) } else { Err(Error::device(device, reason)) }
    }
}

/// A value that lives on a device. A forked child may neither use nor free a GPU's: it still belongs to the parent.
pub(crate) struct Owned<T> {
    /// Some until it is dropped.
    value: Option<T>,
    /// None for a value on the host, which a forked child may use.
    owner: Option<Process>,
}

impl<T> Owned<T> {
    /// Wraps a value on the host, or on a GPU.
    pub(crate) fn new(value: T, is_host: bool) -> Self {
        Self { value: Some(value), owner: (!is_host).then(Process::current) }
    }

    /// As [`Process::check`].
    pub(crate) fn check(&self, device: &str) -> Result<()> {
        self.owner.map_or(Ok(()), |owner| owner.check(device))
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.check("").is_err() {
            std::mem::forget(self.value.take());
        }
    }
}
