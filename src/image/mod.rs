//! Pictures and views: decoding, crop sampling, resampling tables, and the crop-resize kernel for direct use.

mod crop_box;
mod decode;
mod fault;
mod file;
mod format;
mod jpeg;
mod orientation;
mod png;
mod resample;
mod rgb;
mod sampling;
mod tiff;
mod views;

use crate::backend::args::CropResizeArgs;
use crate::backend::{Backend, CropJob, CropOutput, CropPlan, Rgb};
use crate::error::{Error, Result};

pub use crop_box::CropBox;
pub(crate) use decode::decoded_bytes;
pub use decode::{DecodeOptions, Picture};
pub(crate) use fault::decoder_panicked;
pub(crate) use file::read_file;
#[cfg(feature = "cli")]
pub(crate) use file::read_picture;
pub use resample::bicubic_taps;
pub use sampling::ViewSampling;
pub(crate) use views::MAX_BOXES;
pub use views::{Resize, plan_views};

/// Cuts boxes out of an RGB picture and resamples each to `size × size`, as Pillow's
/// `im.crop(box).resize((size, size), BICUBIC)` does, bit for bit.
///
/// Returns `[boxes, size, size, 3]`.
///
/// # Errors
/// As [`plan_views`].
///
/// ```
/// use crossalign::backend::{Cpu, Rgb};
/// use crossalign::image::{CropBox, crop_resize};
/// let pixels = [10, 20, 30, 40, 50, 60]; // two pixels
/// let picture = Rgb::new(2, 1, &pixels)?;
/// let views = crop_resize(&Cpu::new(1)?, picture, &[CropBox::new(1, 0, 1, 1)], 2)?;
/// assert_eq!(views, [40, 50, 60].repeat(4));
/// # Ok::<(), crossalign::Error>(())
/// ```
pub fn crop_resize(backend: &impl Backend, picture: Rgb<'_>, boxes: &[CropBox], size: u32) -> Result<Vec<u8>> {
    resampled(backend, picture, &views::plan_boxes((picture.width(), picture.height()), boxes, size)?)
}

/// All views of a plan as bytes, `[views, S, S, 3]`.
///
/// # Errors
/// When the plan is for a picture of another size.
pub fn resampled(backend: &impl Backend, picture: Rgb<'_>, plan: &CropPlan) -> Result<Vec<u8>> {
    let side = plan.size() as usize;
    let bytes = plan.views().len().saturating_mul(side * side * 3);
    let mut out = Vec::new();
    out.try_reserve_exact(bytes)
        .map_err(|_| Error::argument("views", format!("{bytes} bytes"), "no more than fit in memory"))?;
    out.resize(bytes, 0);
    let jobs = [CropJob { picture: &backend.upload_picture(picture)?, plan, views: 0..plan.views().len() }];
    backend.crop_resize(CropResizeArgs { jobs: &jobs, output: CropOutput::Bytes(&mut out) })?;
    Ok(out)
}
