//! Converting samples to 8-bit RGB.

use image::DynamicImage;

/// The pixels, `[height, width, 3]`: grey is repeated in all channels, alpha dropped.
pub(super) fn into_rgb8(image: DynamicImage) -> Vec<u8> {
    match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageLuma8(image) => spread(image.into_raw(), 1),
        DynamicImage::ImageRgba8(image) => spread(image.into_raw(), 4),
        other => other.into_rgb8().into_raw(),
    }
}

/// RGB from pixels of `channels` samples: three or more begin with red, green and blue, fewer with grey.
pub(super) fn spread(samples: Vec<u8>, channels: usize) -> Vec<u8> {
    if channels == 3 {
        return samples;
    }
    let colour = if channels >= 3 { [0, 1, 2] } else { [0; 3] };
    samples.chunks_exact(channels).flat_map(|pixel| colour.map(|channel| pixel[channel])).collect()
}

/// The upper bytes of 16-bit samples; grey that nowhere exceeds 255 is 8-bit grey in a wider file and stays as it is.
pub(super) fn narrow(samples: &[u16], channels: usize) -> Vec<u8> {
    let low = channels < 3 && samples.iter().step_by(channels).all(|&grey| grey <= u8::MAX.into());
    let shift = if low { 0 } else { 8 };
    samples.iter().map(|&sample| (sample >> shift) as u8).collect()
}

/// Makes transparent pixels white, for GIF.
pub(super) fn whiten(image: &mut DynamicImage) {
    if let DynamicImage::ImageRgba8(image) = image {
        image.pixels_mut().filter(|pixel| pixel.0[3] == 0).for_each(|pixel| pixel.0 = [u8::MAX; 4]);
    }
}
