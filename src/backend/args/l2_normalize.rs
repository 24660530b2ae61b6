//! Arguments of `l2_normalize`.

use super::KernelArgs;
use crate::backend::Backend;
use crate::error::Result;

/// Of [`Backend::l2_normalize`].
pub struct L2NormalizeArgs<'a, B: Backend> {
    /// `[rows, D]`
    pub tensor: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for L2NormalizeArgs<'_, B> {
    fn check(&self) -> Result<()> {
        Ok(())
    }
}
