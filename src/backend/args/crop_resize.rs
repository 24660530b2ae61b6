//! Arguments of `crop_resize`.

use super::KernelArgs;
use crate::backend::{Backend, CropOutput, CropPlan, Rgb, Shaped};
use crate::error::{Error, Result};
use std::ops::Range;

/// Of [`Backend::crop_resize`].
pub struct CropResizeArgs<'a, B: Backend> {
    /// The picture.
    pub picture: Rgb<'a>,
    /// Its views.
    pub plan: &'a CropPlan,
    /// Which of them.
    pub views: Range<usize>,
    /// Where they go.
    pub output: CropOutput<'a, B::Tensor>,
}

impl<B: Backend> KernelArgs for CropResizeArgs<'_, B> {
    fn check(&self) -> Result<()> {
        if (self.picture.width(), self.picture.height()) != self.plan.picture() {
            let (found, expected) = ((self.picture.width(), self.picture.height()), self.plan.picture());
            return Err(Error::argument("crop_resize picture", format!("{found:?}"), format!("{expected:?}")));
        }
        if self.views.start > self.views.end || self.views.end > self.plan.views().len() {
            let expected = format!("a range within {}", self.plan.views().len());
            return Err(Error::argument("crop_resize views", format!("{:?}", self.views), expected));
        }
        let size = self.plan.size() as usize;
        match &self.output {
            CropOutput::Bytes(bytes) => {
                let expected = self.views.len() * size * size * 3;
                if bytes.len() != expected {
                    let found = format!("{} bytes", bytes.len());
                    return Err(Error::argument("crop_resize output", found, format!("{expected} bytes")));
                }
            }
            CropOutput::Patches { layout, first_row, out } => {
                let patch = layout.patch() as usize;
                if !size.is_multiple_of(patch) {
                    let expected = format!("a divisor of the view's side {size}");
                    return Err(Error::argument("crop_resize patch", patch.to_string(), expected));
                }
                let rows = self.views.len() * (size / patch) * (size / patch);
                let shape = out.shape();
                if shape.cols != 3 * patch * patch || first_row.checked_add(rows).is_none_or(|end| end > shape.rows) {
                    let expected = format!("[at least {first_row} + {rows}, {}]", 3 * patch * patch);
                    return Err(Error::argument("crop_resize output", shape.to_string(), expected));
                }
            }
        }
        Ok(())
    }
}
