//! What is done to pictures: their views, planned on the host, and then computed on a device.

use crate::backend::{CropPlan, Pending};
use crate::engine::{Model, spread};
use crate::error::Result;
use crate::image::{CropBox, Picture};
use crate::model::PictureViews;
use std::borrow::Cow;

/// What is done to pictures, of which each gets an `R`.
pub trait Task<R>: Send + Sync {
    /// The views of a picture.
    fn plan<'p>(&self, picture: Cow<'p, Picture>) -> Result<Planned<'p>>;

    /// Submits pictures to one of the devices, by its number.
    fn submit(&self, device: usize, pictures: &[Planned<'_>]) -> Result<Pending<'_, Vec<R>>>;
}

/// Does a task to pictures that several devices share.
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
    /// How all its views are cut.
    pub plan: CropPlan,
}

impl<'p> Planned<'p> {
    pub(super) fn new(model: &Model, picture: Cow<'p, Picture>, boxes: Vec<CropBox>) -> Result<Self> {
        let plan = model.config().plan_views((picture.width(), picture.height()), &boxes)?;
        Ok(Self { picture, boxes, plan })
    }

    /// The bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.picture.as_rgb().pixels().len() + size_of_val(&*self.boxes) + self.plan.bytes()
    }
}

/// Pictures as the engine takes them.
pub(super) fn jobs<'a>(pictures: &'a [Planned<'_>]) -> Vec<PictureViews<'a>> {
    pictures.iter().map(|planned| PictureViews { picture: planned.picture.as_rgb(), plan: &planned.plan }).collect()
}
