//! A picture's views, planned on the host for a device to cut.

use crate::backend::CropPlan;
use crate::engine::Model;
use crate::error::Result;
use crate::image::{CropBox, Picture};
use crate::model::ViewJob;

/// The views of a picture: the global one, and those of the boxes.
pub(super) struct Planned {
    pub(super) boxes: Vec<CropBox>,
    pub(super) plan: CropPlan,
}

/// A picture and its views.
pub(super) type PlannedPicture<'a> = (&'a Picture, &'a Planned);

impl Planned {
    pub(super) fn new(model: &Model, picture: &Picture, boxes: Vec<CropBox>) -> Result<Self> {
        let plan = model.config().plan_views((picture.width(), picture.height()), &boxes)?;
        Ok(Self { boxes, plan })
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.boxes) + self.plan.bytes()
    }
}

/// Pictures as the engine takes them.
pub(super) fn jobs<'a>(pictures: &[PlannedPicture<'a>]) -> Vec<ViewJob<'a>> {
    pictures.iter().map(|(picture, planned)| ViewJob { picture: picture.as_rgb(), plan: &planned.plan }).collect()
}
