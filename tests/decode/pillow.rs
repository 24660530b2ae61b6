//! Every file of `make.py` against what Pillow decodes it to, or what the documented rule says.

use super::{decode, file, path};
use crossalign::{DecodeOptions, Picture};
use serde_json::Value;
use std::collections::BTreeSet;

#[test]
fn every_picture_is_as_expected() {
    let expected: Value = serde_json::from_slice(&file("expected.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, picture) in expected["pictures"].as_object().unwrap() {
        let pixels = &expected["pixels"][picture["pixels"].as_str().unwrap()];
        let decoded = match decode(&file(name)) {
            Ok(decoded) => decoded,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let size = ["width", "height"].map(|side| pixels[side].as_u64().unwrap() as u32);
        if [decoded.width(), decoded.height()] != size {
            wrong.push(format!("{name}: {}×{} instead of {size:?}", decoded.width(), decoded.height()));
            continue;
        }
        let most = difference(decoded.as_rgb().pixels(), pixels["rgb"].as_str().unwrap());
        if u64::from(most) > picture["tolerance"].as_u64().unwrap() {
            wrong.push(format!("{name}: differs by {most}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The largest difference from pixels written as hex.
fn difference(pixels: &[u8], hex: &str) -> u8 {
    assert_eq!(hex.len(), 2 * pixels.len());
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
    pixels.iter().enumerate().map(|(i, &pixel)| pixel.abs_diff(byte(i))).max().unwrap()
}

#[test]
fn no_file_is_left_out() {
    let expected: Value = serde_json::from_slice(&file("expected.json")).unwrap();
    let known: BTreeSet<_> = expected["pictures"].as_object().unwrap().keys().cloned().collect();
    let names = std::fs::read_dir(path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let other = ["make.py", "expected.json"];
    let there = names.filter(|name| !other.contains(&name.as_str()) && !name.starts_with("refused_")).collect();
    assert_eq!(known, there);
}

#[test]
fn rotation_can_be_turned_off() {
    let as_stored = DecodeOptions::default().with_exif_rotation(false);
    for name in ["orientation6.png", "orientation_xmp.webp", "orientation_long.tif", "orientation_long.jpg"] {
        let bytes = file(name);
        let (turned, stored) = (decode(&bytes).unwrap(), Picture::decode(&bytes, &as_stored).unwrap());
        assert_eq!((turned.width(), turned.height()), (stored.height(), stored.width()), "{name}");
    }
}

/// A box at its own size is cut out as it is.
#[test]
fn boxes_are_cut_out() {
    use crossalign::backend::Reference;
    use crossalign::image::{CropBox, crop_resize};
    let picture = decode(&file("base.png")).unwrap();
    let boxes = [CropBox::new(2, 1, 5, 5), CropBox::new(8, 4, 5, 5)];
    let views = crop_resize(&Reference, picture.as_rgb(), &boxes, 5).unwrap();
    let row = |(crop, y): (&CropBox, u32)| {
        let start = ((crop.y + y) * picture.width() + crop.x) as usize * 3;
        picture.as_rgb().pixels()[start..start + 15].to_vec()
    };
    assert!(views.into_iter().eq(boxes.iter().flat_map(|crop| (0..5).map(move |y| (crop, y))).flat_map(row)));
}
