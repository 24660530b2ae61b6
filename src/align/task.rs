//! Tasks on pictures: their views are planned on the host, then computed on a device.

use crate::backend::{CropPlan, Pending};
use crate::engine::{Model, spread};
use crate::error::Result;
use crate::image::{CropBox, Picture};
use crate::model::PictureViews;
use std::borrow::Cow;

/// Work on pictures that gives an `R` for each.
pub trait Task<R>: Send + Sync {
    /// Chooses a picture's views and plans how they are cut, on the host.
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>>;

    /// Submits pictures to the device of this index; gives one `R` a picture.
    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<R>>>;
}

/// Runs a task on pictures, spread over the devices.
pub(super) fn run<R: Clone + Send>(task: &impl Task<R>, devices: usize, pictures: &[&Picture]) -> Result<Vec<R>> {
    let planned: Result<Vec<_>> = pictures.iter().map(|&picture| task.plan(Cow::Borrowed(picture))).collect();
    spread(devices, &planned?, |device, pictures| task.submit(device, pictures)?.wait())
}

/// A picture and its views: the global one, and those of the boxes.
#[derive(Debug)]
pub struct Planned<'p> {
    /// The picture.
    pub picture: Cow<'p, Picture>,
    /// The boxes of its local views.
    pub boxes: Vec<CropBox>,
    /// Where all its views are cut and how they are resampled, the global view first.
    pub plan: CropPlan,
}

impl<'p> Planned<'p> {
    pub(super) fn new(model: &Model, picture: Cow<'p, Picture>, boxes: Vec<CropBox>) -> Result<Self> {
        let plan = model.config().plan_views((picture.width(), picture.height()), &boxes)?;
        Ok(Self { picture, boxes, plan })
    }

    /// Its bytes of host memory.
    pub(super) fn bytes(&self) -> usize {
        self.picture.as_rgb().pixels().len() + size_of_val(&*self.boxes) + self.plan.bytes()
    }
}

/// Borrows pictures in the form that the engine takes.
pub(super) fn jobs<'a>(pictures: &'a [Planned<'_>]) -> Vec<PictureViews<'a>> {
    pictures.iter().map(|planned| PictureViews { picture: planned.picture.as_rgb(), plan: &planned.plan }).collect()
}
