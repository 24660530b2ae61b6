//! The plan of a picture's views: where each is, and the taps that resample it.

use super::bicubic_taps;
use super::crop_box::CropBox;
use super::fault::size_fault;
use crate::backend::{CropPlan, CropView, Taps};
use crate::error::{Error, Result};
use std::collections::{HashMap, HashSet};

/// The largest side of a view; real models stay below 1,000.
const MAX_SIZE: u32 = 4096;
/// The largest side of a picture; its resampling tables take some 16 bytes a pixel.
const MAX_SIDE: u32 = 1 << 20;
/// The most boxes of one picture.
pub(crate) const MAX_BOXES: usize = 100_000;
/// The most bytes of one picture's resampling tables: more than crops of every side from a square picture of 200
/// megapixels take.
const MAX_TABLES: u64 = 4 << 30;

/// How a whole picture becomes the global view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// torchvision's `Resize(size)` and `CenterCrop(size)`: the longer side becomes `⌊size · long / short⌋`, and the
    /// crop's offset is rounded half to even. Only what the crop keeps is computed.
    #[default]
    ShortestEdge,
    /// Both sides become `size`, without keeping the aspect ratio.
    Squash,
}

/// The plan of a picture's views: the global view, then one view a box.
///
/// # Errors
/// When a box is not inside the picture, `size` is not in 1 ..= 4096, there are more than 100,000 boxes, or their
/// resampling tables would take more than 4 GiB.
pub fn plan_views(picture: (u32, u32), boxes: &[CropBox], size: u32, resize: Resize) -> Result<CropPlan> {
    let mut planner = Planner::new(picture, size)?;
    match resize {
        Resize::ShortestEdge => planner.centre(),
        Resize::Squash => planner.boxes(&[CropBox::new(0, 0, picture.0, picture.1)])?,
    }
    planner.boxes(boxes)?;
    planner.finish()
}

/// As [`plan_views`] without the global view.
pub(super) fn plan_boxes(picture: (u32, u32), boxes: &[CropBox], size: u32) -> Result<CropPlan> {
    let mut planner = Planner::new(picture, size)?;
    planner.boxes(boxes)?;
    planner.finish()
}

/// Collects views; crops of equal side share their taps.
struct Planner {
    picture: (u32, u32),
    size: u32,
    taps: Vec<Taps>,
    /// Indices into `taps`, by the side of the crop that they resample.
    by_side: HashMap<u32, usize>,
    views: Vec<CropView>,
}

impl Planner {
    fn new(picture: (u32, u32), size: u32) -> Result<Self> {
        if !(1..=MAX_SIZE).contains(&size) {
            return Err(Error::argument("view size", size.to_string(), format!("1 to {MAX_SIZE}")));
        }
        if !(1..=MAX_SIDE).contains(&picture.0) || !(1..=MAX_SIDE).contains(&picture.1) {
            return Err(size_fault(picture, format!("sides of 1 to {MAX_SIDE}")));
        }
        Ok(Self { picture, size, taps: Vec::new(), by_side: HashMap::new(), views: Vec::new() })
    }

    /// Adds the centre of the picture, resized so that its shorter side is the view's.
    fn centre(&mut self) {
        let (width, height) = self.picture;
        let shorter = width.min(height);
        let mut axis = |side: u32| {
            let resized = u64::from(self.size) * u64::from(side) / u64::from(shorter);
            self.taps.push(bicubic_taps(side, resized, center(resized - u64::from(self.size)), self.size));
            self.taps.len() - 1
        };
        let (horizontal, vertical) = (axis(width), axis(height));
        self.views.push(CropView { x: 0, y: 0, horizontal, vertical });
    }

    fn boxes(&mut self, boxes: &[CropBox]) -> Result<()> {
        if boxes.len() > MAX_BOXES {
            return Err(Error::argument("boxes", boxes.len().to_string(), format!("at most {MAX_BOXES}")));
        }
        for (i, crop) in boxes.iter().enumerate() {
            let inside =
                |start: u32, side: u32, limit: u32| side > 0 && u64::from(start) + u64::from(side) <= u64::from(limit);
            if !inside(crop.x, crop.width, self.picture.0) || !inside(crop.y, crop.height, self.picture.1) {
                return Err(Error::argument(
                    format!("box {i}"),
                    format!("{:?}", <[u32; 4]>::from(*crop)),
                    format!("one inside the picture of {}×{} pixels", self.picture.0, self.picture.1),
                ));
            }
        }
        self.check_tables(boxes)?;
        for crop in boxes {
            let (horizontal, vertical) = (self.whole(crop.width), self.whole(crop.height));
            self.views.push(CropView { x: crop.x, y: crop.y, horizontal, vertical });
        }
        Ok(())
    }

    /// Refuses boxes of so many different sides that their tables would not fit in memory.
    fn check_tables(&self, boxes: &[CropBox]) -> Result<()> {
        let sides: HashSet<u32> = boxes.iter().flat_map(|crop| [crop.width, crop.height]).collect();
        // In i32 each: four weights a pixel of the side, or five a pixel of the view if that is larger; and two numbers
        // a pixel of the view.
        let table = |&side: &u32| 16 * u64::from(side) + 28 * u64::from(self.size);
        let bytes: u64 = sides.iter().map(table).sum();
        if bytes > MAX_TABLES {
            let found = format!("{} different sides, whose resampling tables take {bytes} bytes", sides.len());
            return Err(Error::argument("boxes", found, format!("at most {MAX_TABLES} bytes")));
        }
        Ok(())
    }

    /// The taps that resample a whole side of a crop.
    fn whole(&mut self, side: u32) -> usize {
        let (size, taps) = (self.size, &mut self.taps);
        *self.by_side.entry(side).or_insert_with(|| {
            taps.push(bicubic_taps(side, size.into(), 0, size));
            taps.len() - 1
        })
    }

    fn finish(self) -> Result<CropPlan> {
        CropPlan::new(self.picture, self.size, self.taps, self.views)
    }
}

/// Half of `margin`, rounded half to even.
fn center(margin: u64) -> u64 {
    let half = margin / 2;
    half + u64::from(margin % 2 == 1 && half % 2 == 1)
}
