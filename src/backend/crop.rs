//! The arguments of [`Backend::crop_resize`](super::Backend::crop_resize): pictures, plans of views, an output.

use crate::error::{Error, Result};

/// Pillow's fixed point: weights are integers in units of 2⁻²² (`PRECISION_BITS = 32 − 8 − 2`, Resample.c).
pub(crate) const PRECISION_BITS: u32 = 22;

/// An RGB picture with 8 bits a channel: `[height, width, 3]`, no padding between rows.
#[derive(Clone, Copy, Debug)]
pub struct Rgb<'a> {
    width: u32,
    height: u32,
    pixels: &'a [u8],
}

impl<'a> Rgb<'a> {
    /// Borrows `pixels`, `[height, width, 3]`.
    ///
    /// # Errors
    /// When there are no pixels or their number is not `height · width · 3`.
    pub fn new(width: u32, height: u32, pixels: &'a [u8]) -> Result<Self> {
        let expected = u64::from(width) * u64::from(height) * 3;
        if expected == 0 || pixels.len() as u64 != expected {
            return Err(Error::argument(
                "picture",
                format!("{} bytes for {width}×{height}", pixels.len()),
                "height · width · 3 bytes, at least one pixel",
            ));
        }
        Ok(Self { width, height, pixels })
    }

    /// Width in pixels.
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(self) -> u32 {
        self.height
    }

    /// All bytes, `[height, width, 3]`.
    pub fn pixels(self) -> &'a [u8] {
        self.pixels
    }

    /// The bytes of the pixels `x .. x + width` of row `y`.
    pub(crate) fn span(self, x: u32, y: u32, width: u32) -> &'a [u8] {
        let start = (y as usize * self.width as usize + x as usize) * 3;
        &self.pixels[start..][..width as usize * 3]
    }
}

/// One axis of a resampling: for each output pixel the first input pixel it reads and its integer weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taps {
    starts: Vec<u32>,
    /// `weights[offsets[i]..offsets[i + 1]]` belong to output pixel `i`.
    offsets: Vec<u32>,
    weights: Vec<i32>,
}

impl Taps {
    /// Collects the taps of each output pixel: its first input pixel and its weights in units of 2⁻²².
    pub(crate) fn collect(outputs: impl Iterator<Item = (u32, Vec<i32>)>) -> Self {
        let mut taps = Self { starts: Vec::new(), offsets: vec![0], weights: Vec::new() };
        for (start, weights) in outputs {
            taps.starts.push(start);
            taps.weights.extend_from_slice(&weights);
            taps.offsets.push(taps.weights.len() as u32);
        }
        taps
    }

    /// Number of output pixels.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no output pixel.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Output pixel `i`'s first input pixel and its weights.
    pub fn get(&self, i: usize) -> (usize, &[i32]) {
        (self.starts[i] as usize, &self.weights[self.offsets[i] as usize..self.offsets[i + 1] as usize])
    }

    /// The input pixels read by any output pixel.
    pub fn span(&self) -> std::ops::Range<usize> {
        let ends = (0..self.len()).map(|i| self.get(i)).map(|(start, weights)| start + weights.len());
        let start = self.starts.iter().copied().min().unwrap_or(0) as usize;
        start..ends.max().unwrap_or(start)
    }
}

/// One view: where its crop lies in the picture and which of the plan's taps resample it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropView {
    /// Left edge of the crop; the horizontal taps count from it.
    pub x: u32,
    /// Upper edge of the crop; the vertical taps count from it.
    pub y: u32,
    /// Index into [`CropPlan::taps`] for the columns.
    pub horizontal: usize,
    /// Index into [`CropPlan::taps`] for the rows.
    pub vertical: usize,
}

/// What to cut from one picture: views of `size × size`, and the tables they share.
#[derive(Clone, Debug)]
pub struct CropPlan {
    picture: (u32, u32),
    size: u32,
    taps: Vec<Taps>,
    views: Vec<CropView>,
}

impl CropPlan {
    /// A plan for a picture of `picture` (width, height).
    ///
    /// # Errors
    /// When a view reads outside the picture or its taps do not give `size` pixels.
    pub(crate) fn new(picture: (u32, u32), size: u32, taps: Vec<Taps>, views: Vec<CropView>) -> Result<Self> {
        let fits = |start: u32, taps: Option<&Taps>, limit: u32| {
            taps.is_some_and(|taps| taps.len() == size as usize && start as usize + taps.span().end <= limit as usize)
        };
        for (i, view) in views.iter().enumerate() {
            if !fits(view.x, taps.get(view.horizontal), picture.0) || !fits(view.y, taps.get(view.vertical), picture.1)
            {
                return Err(Error::argument(
                    format!("view {i}"),
                    format!("{view:?}"),
                    format!("a crop inside {}×{}", picture.0, picture.1),
                ));
            }
        }
        Ok(Self { picture, size, taps, views })
    }

    /// Width and height of the picture that the plan is for.
    pub fn picture(&self) -> (u32, u32) {
        self.picture
    }

    /// Side `S` of every view.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The views.
    pub fn views(&self) -> &[CropView] {
        &self.views
    }

    /// The resampling tables that the views refer to.
    pub fn taps(&self) -> &[Taps] {
        &self.taps
    }

    /// Bytes of the plan's views and taps.
    pub(crate) fn bytes(&self) -> usize {
        let taps = |taps: &Taps| size_of_val(&*taps.starts) + size_of_val(&*taps.offsets) + size_of_val(&*taps.weights);
        size_of_val(&*self.views) + self.taps.iter().map(taps).sum::<usize>()
    }
}

/// How a view's bytes are normalised and cut into patches for the patch embedding.
#[derive(Clone, Debug)]
pub struct PatchLayout {
    patch: u32,
    table: Box<[[f32; 256]; 3]>,
}

impl PatchLayout {
    /// Patches of `patch × patch` pixels, each byte `v` of channel `c` normalised to `(v/255 − mean[c]) / std[c]`.
    ///
    /// # Errors
    /// When `patch` is 0 or a mean or standard deviation is not a usable number.
    pub fn new(patch: u32, mean: [f32; 3], std: [f32; 3]) -> Result<Self> {
        if patch == 0 || mean.iter().any(|m| !m.is_finite()) || std.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(Error::argument(
                "patch layout",
                format!("patch {patch}, mean {mean:?}, std {std:?}"),
                "a patch of at least 1, finite means, positive standard deviations",
            ));
        }
        let normalise = |c: usize, v: usize| (v as f64 / 255.0 - f64::from(mean[c])) / f64::from(std[c]);
        let table = std::array::from_fn(|c| std::array::from_fn(|v| normalise(c, v) as f32));
        Ok(Self { patch, table: Box::new(table) })
    }

    /// Side `P` of a patch.
    pub fn patch(&self) -> u32 {
        self.patch
    }

    /// The normalised value of each byte, for each channel.
    pub fn table(&self) -> &[[f32; 256]; 3] {
        &self.table
    }
}

/// Anything that has a picture's size.
pub trait PictureSize {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);
}

impl PictureSize for Rgb<'_> {
    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

/// A picture on a device, and the views of its plan to cut.
#[derive(Clone, Debug)]
pub struct CropJob<'a, P> {
    /// The picture, from [`Backend::upload_picture`](super::Backend::upload_picture).
    pub picture: &'a P,
    /// The plan that the views are taken from.
    pub plan: &'a CropPlan,
    /// Which of the plan's views to cut.
    pub views: std::ops::Range<usize>,
}

impl<'a, P> CropJob<'a, P> {
    /// The views to cut.
    pub(crate) fn views(&self) -> &'a [CropView] {
        &self.plan.views()[self.views.clone()]
    }
}

/// Where [`Backend::crop_resize`](super::Backend::crop_resize) puts the views.
#[derive(Debug)]
pub enum CropOutput<'a, T> {
    /// As bytes, `[views, S, S, 3]`.
    Bytes(&'a mut [u8]),
    /// As rows of the patch matrix `[·, 3·P·P]`.
    Patches {
        /// Patch size and normalisation.
        layout: &'a PatchLayout,
        /// The first row of `out` to write.
        first_row: usize,
        /// The patch matrix.
        out: &'a mut T,
    },
}
