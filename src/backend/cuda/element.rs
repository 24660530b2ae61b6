//! The types of a tensor's elements.

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    /// Rows begin at multiples of 16 bytes, the unit that cp.async copies.
    F16,
}

impl Element {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }

    /// Leading dimension: elements from one row of `cols` to the next.
    pub(super) fn stride(self, cols: usize) -> usize {
        match self {
            Self::F32 => cols,
            Self::F16 => cols.next_multiple_of(8),
        }
    }
}
