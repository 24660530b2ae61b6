//! Views: the crops that are drawn, the plans made of boxes, and the tables that resample them.

use crossalign::backend::Rgb;
use crossalign::image::{CropBox, Resize, ViewSampling, bicubic_taps, plan_views};
use proptest::prelude::*;
use std::path::Path;

/// The largest side of a picture, and the most boxes of one.
const MAX_SIDE: u32 = 1 << 20;
const MAX_BOXES: usize = 100_000;

#[test]
fn equal_sizes_copy() {
    let taps = bicubic_taps(5, 5, 0, 5);
    for pixel in 0..5 {
        let (start, weights) = taps.get(pixel);
        let one = weights.iter().position(|&w| w != 0).expect("a weight");
        assert_eq!((start + one, weights.iter().sum::<i32>()), (pixel, 1 << 22));
    }
}

#[test]
fn a_window_is_part_of_the_whole() {
    let (whole, window) = (bicubic_taps(97, 31, 0, 31), bicubic_taps(97, 31, 7, 9));
    for pixel in 0..9 {
        assert_eq!(window.get(pixel), whole.get(pixel + 7));
    }
}

#[test]
fn huge_reductions_and_enlargements_stay_inside() {
    for (input, output) in [(1, 4096), (1 << 20, 1), (1, 1 << 32), (3, 2)] {
        let taps = bicubic_taps(input, output, output - 1, 1);
        let (start, weights) = taps.get(0);
        assert!(!weights.is_empty() && start + weights.len() <= input as usize);
    }
}

#[test]
fn centers_round_half_to_even() {
    for (margin, offset) in (0..).zip([0, 0, 1, 2, 2, 2, 3, 4]) {
        let (size, side) = (9, 9 + margin);
        for picture in [(side, size), (size, side)] {
            let plan = plan_views(picture, &[], size, Resize::ShortestEdge).unwrap();
            let view = plan.views()[0];
            let (long, short) =
                if picture.0 == side { (view.horizontal, view.vertical) } else { (view.vertical, view.horizontal) };
            assert_eq!(plan.taps()[long], bicubic_taps(side, side.into(), offset, size), "{margin}");
            assert_eq!(plan.taps()[short], bicubic_taps(size, size.into(), 0, size), "{margin}");
        }
    }
}

proptest! {
    #[test]
    fn crops_are_squares_inside_and_keyed(
        (w, h) in (1u32..40, 1u32..40),
        count in 0usize..20,
        seed: u64,
        (alpha, more) in (0.01f64..1.0, 0f64..1.0),
    ) {
        let pixels: Vec<u8> = (0..w * h * 3).map(|i| (i * 7 % 251) as u8).collect();
        let picture = Rgb::new(w, h, &pixels).unwrap();
        let sampling = ViewSampling { count, alpha, beta: alpha + more * (1.0 - alpha), seed };
        let boxes = sampling.boxes(picture).unwrap();
        prop_assert_eq!(boxes.len(), count);
        for crop in &boxes {
            prop_assert!(crop.width == crop.height && crop.width >= 1);
            prop_assert!(crop.x + crop.width <= w && crop.y + crop.height <= h);
            prop_assert!(f64::from(crop.width) <= sampling.beta * f64::from(w.min(h)) || crop.width == 1);
        }
        // The first crops of a longer list are the same.
        let longer = ViewSampling { count: count + 3, ..sampling };
        prop_assert_eq!(&longer.boxes(picture).unwrap()[..count], &boxes[..]);
    }
}

#[test]
fn crops_are_the_same_on_every_machine() {
    let pixels: Vec<u8> = (0..300 * 200 * 3).map(|i| (i % 256) as u8).collect();
    let picture = Rgb::new(300, 200, &pixels).unwrap();
    let boxes = ViewSampling { count: 3, ..Default::default() }.boxes(picture).unwrap();
    let pinned = [CropBox::new(7, 21, 103, 103), CropBox::new(74, 13, 163, 163), CropBox::new(143, 49, 146, 146)];
    assert_eq!(boxes, pinned);
}

#[test]
fn tables_that_do_not_fit_in_memory_are_refused() {
    let boxes: Vec<CropBox> = (900_000..1_000_000).map(|side| CropBox::new(0, 0, side, 1)).collect();
    let message = plan_views((MAX_SIDE, 1), &boxes, 224, Resize::ShortestEdge).unwrap_err().to_string();
    assert!(message.starts_with("boxes: found 100001 different sides"), "{message}");
    // Sides that are equal share a table.
    let equal = vec![CropBox::new(0, 0, MAX_SIDE, 1); MAX_BOXES];
    assert_eq!(plan_views((MAX_SIDE, 1), &equal, 1, Resize::ShortestEdge).unwrap().views().len(), 1 + MAX_BOXES);
}

#[test]
fn sampling_ranges_are_checked() {
    for (alpha, beta) in [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1), (f64::NAN, 0.5), (0.5, f64::NAN)] {
        assert!(ViewSampling { alpha, beta, ..Default::default() }.check().is_err());
    }
}

#[test]
fn bad_boxes_are_named() {
    let file = Path::new("boxes.json");
    let lists = [
        "[[0,0,1]]",
        "[[0,0,1,0]]",
        "[[-1,0,1,1]]",
        "[[0.5,0,1,1]]",
        "[[0,0,1,99999999999]]",
        "{}",
        "[1]",
        "[\"a\"]",
        "",
    ];
    for json in lists {
        let message = CropBox::list_from_json(json, file).unwrap_err().to_string();
        assert!(message.starts_with("boxes.json: box"), "{message}");
    }
    let plan = |crop: CropBox| plan_views((10, 10), &[crop], 4, Resize::ShortestEdge);
    assert!(plan(CropBox::new(5, 5, 6, 1)).unwrap_err().to_string().contains("box 0"));
    assert!(plan(CropBox::new(u32::MAX, 0, 2, 1)).is_err());
    for empty in [CropBox::new(1, 1, 0, 1), CropBox::new(1, 1, 1, 0)] {
        assert!(plan(empty).unwrap_err().to_string().contains("box 0"), "{empty:?}");
    }
    for last in [CropBox::new(9, 9, 1, 1), CropBox::new(0, 0, 10, 10)] {
        assert_eq!(plan(last).unwrap().views().len(), 2, "{last:?}");
    }
    assert!(plan_views((10, 10), &[], 0, Resize::ShortestEdge).is_err());
}
