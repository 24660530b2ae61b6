//! Memory for matrices, in huge pages where the system has them.
//!
//! A product walks down the rows of its matrices, which are kilobytes apart: with pages of 4 KiB the processor waits for
//! address translation, the more so in a virtual machine, where each is a walk through two page tables.

use bytemuck::Pod;
use memmap2::MmapMut;
use std::ops::{Deref, DerefMut};

/// The least that is mapped by itself: half of x86-64's huge page.
const MAPPED_BYTES: usize = 1 << 20;

/// A slice of zeros to begin with.
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
    /// `len` zeros; nothing where there is no memory for them.
    fn zeroed(len: usize) -> Option<Self> {
        let bytes = len.checked_mul(size_of::<T>())?;
        if bytes >= MAPPED_BYTES {
            let map = MmapMut::map_anon(bytes).ok()?;
            // Where the system refuses, its ordinary pages do.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Some(Self { memory: Memory::Mapped(map), len });
        }
        let mut heap = Vec::new();
        heap.try_reserve_exact(len).ok()?;
        heap.resize(len, T::zeroed());
        Some(Self { memory: Memory::Heap(heap), len })
    }

    /// Makes it `len` long, and zeros where that is more than it has memory for; false where there is none.
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

    /// As [`Pages::try_resize`]; where there is no memory, the process ends, as with a [`Vec`].
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
            // A mapping begins at a page: aligned for any `T`.
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
