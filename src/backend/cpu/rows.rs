//! Rows of a matrix, or of a part of its columns, as they lie in memory.

/// `count` rows, `stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T = f32> {
    /// From the first row's first element on.
    pub(super) data: &'a [T],
    pub(super) stride: usize,
    pub(super) count: usize,
}

impl<'a, T: Copy> Rows<'a, T> {
    /// The first `len` elements of row `i`.
    #[inline(always)]
    pub(super) fn row(self, i: usize, len: usize) -> &'a [T] {
        &self.data[i * self.stride..][..len]
    }
}
