//! Hostile lists of boxes.

use super::accepted;
use crossalign::image::{CropBox, Resize, plan_views};
use std::path::Path;

/// Width, height, both below 4096, and size of the views; then the list.
pub fn boxes(data: &[u8]) {
    let Some((&[w0, w1, h0, h1, size], json)) = data.split_first_chunk() else { return };
    let side = |bytes| u32::from(u16::from_le_bytes(bytes) % 4096);
    let (picture, size) = ((side([w0, w1]), side([h0, h1])), u32::from(size));
    let json = String::from_utf8_lossy(json);
    let file = Path::new("boxes.json");
    let Some(boxes) = accepted(CropBox::list_from_json(&json, file), "boxes.json: box") else { return };

    let lists: Vec<[u32; 4]> = boxes.iter().map(|b| [b.x, b.y, b.width, b.height]).collect();
    let written = serde_json::to_string(&lists).expect("numbers");
    assert_eq!(CropBox::list_from_json(&written, file).expect("boxes written as JSON"), boxes);

    let ends = |start: u32, length: u32| u64::from(start) + u64::from(length);
    let inside =
        |b: &CropBox| ends(b.x, b.width) <= u64::from(picture.0) && ends(b.y, b.height) <= u64::from(picture.1);
    let plan = accepted(plan_views(picture, &boxes, size, Resize::ShortestEdge), ": found");
    assert_eq!(plan.is_some(), size > 0 && picture.0 > 0 && picture.1 > 0 && boxes.iter().all(inside));
    let Some(plan) = plan else { return };
    assert_eq!(plan.views().len(), 1 + boxes.len());
    for (view, crop) in plan.views()[1..].iter().zip(&boxes) {
        let (columns, rows) = (plan.taps()[view.horizontal].span(), plan.taps()[view.vertical].span());
        assert_eq!((view.x, view.y), (crop.x, crop.y));
        assert!(columns.end <= crop.width as usize && rows.end <= crop.height as usize, "pixels outside the box");
    }
}
