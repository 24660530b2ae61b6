//! Bytes of Python objects, read where they are, without the GIL.

use numpy::{PyArrayDyn, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes that a Python object holds. As with any array that another thread computes on, Python must not write to them
/// meanwhile.
pub struct Memory {
    /// Keeps the bytes alive and in place.
    owner: Arc<Py<PyAny>>,
    bytes: NonNull<[u8]>,
}

// SAFETY: the bytes are read only, and their owner's reference count is changed with the GIL alone.
unsafe impl Send for Memory {}

impl Memory {
    /// The content of `bytes`.
    pub fn of_bytes(bytes: &Bound<'_, PyBytes>) -> Self {
        Self { owner: Arc::new(bytes.clone().into_any().unbind()), bytes: bytes.as_bytes().into() }
    }

    /// The elements of an array, in the order of its memory.
    ///
    /// # Errors
    /// When they are not contiguous.
    pub fn of_array(array: &Bound<'_, PyArrayDyn<u8>>) -> PyResult<Self> {
        let elements = array.try_readonly()?;
        Ok(Self { bytes: elements.as_slice()?.into(), owner: Arc::new(array.clone().into_any().unbind()) })
    }

    /// A part of the bytes; none where they do not have it.
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        Some(Self { owner: self.owner.clone(), bytes: self.get(range)?.into() })
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the owner is alive. `bytes` never move; an array's elements move only in `resize`, which refuses while
        // there are other references to the array, as `owner` is.
        unsafe { self.bytes.as_ref() }
    }
}
