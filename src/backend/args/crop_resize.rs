//! Arguments of `crop_resize`.

use super::KernelArgs;
use crate::backend::{Backend, CropJob, CropOutput, PictureSize, Shaped};
use crate::error::{Error, Result};

/// Of [`Backend::crop_resize`].
pub struct CropResizeArgs<'a, 'p, B: Backend> {
    /// Pictures and their views, all of one size.
    pub jobs: &'a [CropJob<'a, B::Picture<'p>>],
    /// Where all views go, one after the other.
    pub output: CropOutput<'a, B::Tensor>,
}

impl<B: Backend> KernelArgs for CropResizeArgs<'_, '_, B> {
    fn check(&self) -> Result<()> {
        let size = self.jobs.first().map_or(1, |job| job.plan.size());
        for CropJob { picture, plan, views } in self.jobs {
            if picture.size() != plan.picture() {
                let (found, expected) = (picture.size(), plan.picture());
                return Err(Error::argument("crop_resize picture", format!("{found:?}"), format!("{expected:?}")));
            }
            if views.start > views.end || views.end > plan.views().len() {
                let expected = format!("a range within {}", plan.views().len());
                return Err(Error::argument("crop_resize views", format!("{views:?}"), expected));
            }
            if plan.size() != size {
                return Err(Error::argument("crop_resize view size", plan.size().to_string(), size.to_string()));
            }
        }
        let (size, views) = (size as usize, self.jobs.iter().map(|job| job.views.len()).sum::<usize>());
        match &self.output {
            CropOutput::Bytes(bytes) => {
                let expected = views * size * size * 3;
                if bytes.len() != expected {
                    let found = format!("{} bytes", bytes.len());
                    return Err(Error::argument("crop_resize output", found, format!("{expected} bytes")));
                }
            }
            CropOutput::Patches { layout, first_row, out } => {
                let patch = layout.patch() as usize;
                if !size.is_multiple_of(patch) && !self.jobs.is_empty() {
                    let expected = format!("a divisor of the view's side {size}");
                    return Err(Error::argument("crop_resize patch", patch.to_string(), expected));
                }
                let rows = views * (size / patch) * (size / patch);
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
