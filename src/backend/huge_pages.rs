//! Memory for matrices, in huge pages where the system has them.
//!
//! A matrix product walks down rows that are kilobytes apart: with pages of 4 KiB the processor waits for address
//! translation, the more so in a virtual machine, where each TLB miss walks two page tables.

use bytemuck::Pod;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// Allocations from this many bytes on get a mapping of their own: half a huge page of x86-64.
const MAPPED_BYTES: usize = 1 << 20;

/// A slice in its own memory, zeroed at first.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    memory: Memory<T>,
    len: usize,
}

#[derive(Debug)]
enum Memory<T> {
    Heap(Vec<T>),
    Mapped(MmapMut),
}

impl<T: Pod> Pages<T> {
    /// `len` zeros; `None` if there is no memory for them.
    fn zeroed(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<T>())?;
        // A browser maps no memory.
        if bytes >= MAPPED_BYTES && !cfg!(target_arch = "wasm32") {
            let map = MmapMut::map_anon(bytes).ok()?;
            // If the system refuses, ordinary pages work as well.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Some(Self { memory: Memory::Mapped(map), len });
        }
        let mut heap = Vec::new();
        heap.try_reserve_exact(len).ok()?;
        heap.resize(len, T::zeroed());
        Some(Self { memory: Memory::Heap(heap), len })
    }

    /// Sets the length. Where the memory is too small, it is replaced by zeros; false if there is no memory for them.
    pub(crate) fn try_resize(&mut self, len: usize) -> bool {
        let capacity = match &self.memory {
            Memory::Heap(heap) => heap.len(),
            Memory::Mapped(map) => map.len() / size_of::<T>(),
        };
        if len <= capacity {
            self.len = len;
            return true;
        }
        Self::zeroed(len).map(|grown| *self = grown).is_some()
    }

    /// As [`Pages::try_resize`], but out of memory it ends the process, as [`Vec`] does.
    pub(crate) fn resize(&mut self, len: usize) {
        if !self.try_resize(len) {
            *self = Self { memory: Memory::Heap(vec![T::zeroed(); len]), len };
        }
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { memory: Memory::Heap(Vec::new()), len: 0 }
    }
}

impl<T: Pod> Clone for Pages<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::default();
        copy.resize(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.memory {
            Memory::Heap(heap) => &heap[..self.len],
            // A mapping is page-aligned, hence aligned for any `T`.
            Memory::Mapped(map) => bytemuck::cast_slice(&map[..self.len * size_of::<T>()]),
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.memory {
            Memory::Heap(heap) => &mut heap[..self.len],
            Memory::Mapped(map) => bytemuck::cast_slice_mut(&mut map[..self.len * size_of::<T>()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_mapped() {
        for len in [0, 3, MAPPED_BYTES / 4, MAPPED_BYTES / 4 + 1] {
            let mut pages = Pages::<f32>::zeroed(len).expect("memory");
            assert!(pages.len() == len && pages.iter().all(|&x| x == 0.0));
            pages.fill(1.0);
            assert_eq!(*pages.clone(), vec![1.0; len]);
            assert!(pages.try_resize(2) && *pages == if len < 2 { [0.0; 2] } else { [1.0; 2] });
            assert!(pages.try_resize(len + 1) && pages.len() == len + 1);
        }
        assert!(Pages::<f32>::zeroed(usize::MAX / 2).is_none());
        assert!(Pages::<f32>::zeroed(1 << 60).is_none());
    }
}
