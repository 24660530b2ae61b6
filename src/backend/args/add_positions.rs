//! Arguments of `add_positions`.

use super::{KernelArgs, expect_shape};
use crate::backend::{Backend, Shape, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::add_positions`], with `n` patches a view.
pub struct AddPositionsArgs<'a, B: Backend> {
    /// `[views·n, D]`
    pub patches: &'a B::Tensor,
    /// `[1, D]`
    pub class: &'a B::Tensor,
    /// `[n+1, D]`
    pub positions: &'a B::Tensor,
    /// `[views·(n+1), D]`
    pub out: &'a mut B::Tensor,
}

impl<B: Backend> KernelArgs for AddPositionsArgs<'_, B> {
    fn check(&self) -> Result<()> {
        let (patches, positions) = (self.patches.shape(), self.positions.shape());
        let per_view = positions.rows.saturating_sub(1);
        if per_view == 0 || !patches.rows.is_multiple_of(per_view) {
            let expected = format!("a multiple of the {per_view} patches a view, at least 1");
            return Err(Error::argument("add_positions patches", patches.to_string(), expected));
        }
        let views = patches.rows / per_view;
        expect_shape("add_positions class", self.class.shape(), Shape::new(1, patches.cols))?;
        expect_shape("add_positions positions", positions, Shape::new(positions.rows, patches.cols))?;
        expect_shape("add_positions output", self.out.shape(), Shape::new(views * positions.rows, patches.cols))
    }
}
