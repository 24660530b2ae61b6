//! Which parts of a picture become views.

use super::bicubic_taps;
use super::fault::size_fault;
use crate::backend::{CropPlan, CropView, Rgb, Taps};
use crate::error::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The largest side of a view; real models stay below 1,000.
const MAX_SIZE: u32 = 4096;
/// The largest side of a picture; its resampling tables take some 16 bytes a pixel.
const MAX_SIDE: u32 = 1 << 20;
/// The most boxes of one picture.
pub(crate) const MAX_BOXES: usize = 100_000;
/// The most bytes of one picture's resampling tables: more than crops of every side from a square picture of 200
/// megapixels take.
const MAX_TABLES: u64 = 4 << 30;

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CropBox {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

impl CropBox {
    /// A box of `width × height` with its upper left corner at `(x, y)`.
    pub const fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// Reads a JSON list of `[x, y, width, height]`, in pixels of the decoded picture. `file` is for messages.
    ///
    /// # Errors
    /// When it is no such list, or has a number that is not a whole one, is negative or too large, or an empty side.
    pub fn list_from_json(json: &str, file: &Path) -> Result<Vec<Self>> {
        let expected = "a list of [x, y, width, height] with whole numbers";
        let lists: Vec<serde_json::Value> =
            serde_json::from_str(json).map_err(|error| Error::file(file, "boxes", error.to_string(), expected))?;
        let parse = |(i, list): (usize, &serde_json::Value)| {
            let numbers: Option<Vec<u32>> = list
                .as_array()
                .and_then(|list| list.iter().map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect());
            match numbers.as_deref() {
                Some(&[x, y, width, height]) if width > 0 && height > 0 => Ok(Self { x, y, width, height }),
                _ => Err(Error::file(
                    file,
                    format!("box {i}"),
                    list.to_string(),
                    "[x, y, width, height]: whole numbers, not negative, sides at least 1",
                )),
            }
        };
        lists.iter().enumerate().map(parse).collect()
    }
}

/// How local views are drawn from a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ViewSampling {
    /// Number of local views, `N`.
    pub count: usize,
    /// Smallest side of a crop as a share of the picture's shorter side, `α`.
    pub alpha: f64,
    /// Largest side of a crop as a share of the picture's shorter side, `β`.
    pub beta: f64,
    /// The same seed gives the same crops of the same picture.
    pub seed: u64,
}

impl Default for ViewSampling {
    /// WCA's: 60 crops of 0.5 to 0.9 of the shorter side.
    fn default() -> Self {
        Self { count: 60, alpha: 0.5, beta: 0.9, seed: 0 }
    }
}

impl ViewSampling {
    /// Checks the ranges.
    ///
    /// # Errors
    /// When not `0 < α ≤ β ≤ 1`, or there are more than 100,000 views.
    pub fn check(&self) -> Result<()> {
        if !(self.alpha > 0.0 && self.alpha <= self.beta && self.beta <= 1.0) {
            let found = format!("α = {}, β = {}", self.alpha, self.beta);
            return Err(Error::argument("crop sides", found, "0 < α ≤ β ≤ 1"));
        }
        if self.count > MAX_BOXES {
            return Err(Error::argument("views", self.count.to_string(), format!("at most {MAX_BOXES}")));
        }
        Ok(())
    }

    /// The crops of a picture: squares of side `⌊U(α, β) · min(w, h)⌋` at a uniform position inside.
    ///
    /// Crop `i` depends on the seed, the picture's pixels and `i` alone: ChaCha8 keyed by seed and pixel hash,
    /// stream `i`.
    ///
    /// # Errors
    /// As [`ViewSampling::check`].
    pub fn boxes(&self, picture: Rgb<'_>) -> Result<Vec<CropBox>> {
        self.check()?;
        let key = self.key(picture);
        let shorter = picture.width().min(picture.height());
        Ok((0..self.count as u64)
            .map(|i| {
                let mut rng = ChaCha8Rng::from_seed(key);
                rng.set_stream(i);
                let share = self.alpha + (self.beta - self.alpha) * unit(rng.next_u64());
                let side = ((share * f64::from(shorter)) as u32).clamp(1, shorter);
                let x = below(rng.next_u64(), picture.width() - side + 1);
                let y = below(rng.next_u64(), picture.height() - side + 1);
                CropBox::new(x, y, side, side)
            })
            .collect())
    }

    fn key(&self, picture: Rgb<'_>) -> [u8; 32] {
        let pixels = xxhash_rust::xxh3::xxh3_128(picture.pixels());
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..24].copy_from_slice(&pixels.to_le_bytes());
        key[24..28].copy_from_slice(&picture.width().to_le_bytes());
        key[28..].copy_from_slice(&picture.height().to_le_bytes());
        key
    }
}

/// 53 random bits as a number in [0, 1).
fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `n`; the bias of 2⁻³² is far below what 60 draws can show.
fn below(random: u64, n: u32) -> u32 {
    ((u128::from(random) * u128::from(n)) >> 64) as u32
}

/// How a whole picture becomes the global view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resize {
    /// torchvision's `Resize(size)` and `CenterCrop(size)`: the longer side becomes `⌊size · long / short⌋`, and the
    /// crop's offset is rounded half to even. Only what the crop keeps is computed.
    #[default]
    ShortestEdge,
    /// Both sides become `size`, whatever the picture's are.
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
    /// Taps of a whole crop, by its side.
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

    /// The centre of the picture, once its shorter side is the view's.
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
                    format!("[{}, {}, {}, {}]", crop.x, crop.y, crop.width, crop.height),
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
        // Of an i32 each, four weights a pixel of the side, or five a pixel of the view where it is enlarged; and two
        // numbers a pixel of the view.
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
