//! Sizes are looked at before anything is decoded.

use super::{assert_refused, file};
use crossalign::{DecodeOptions, Error, Picture, PictureErrorKind};

#[test]
fn too_many_pixels_are_refused_before_decoding() {
    // A header that claims 60,000 × 60,000 pixels and has no data.
    let mut bmp = file("base.bmp");
    bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    assert_refused(&bmp, PictureErrorKind::Size, "60000×60000 pixels");
    let mut jpeg = file("progressive.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc2]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert_refused(&jpeg, PictureErrorKind::Size, "65535×65535 pixels");
}

#[test]
fn the_limit_is_the_options() {
    for (name, pixels) in
        [("base.png", 117), ("base.tif", 35), ("big_palette.tif", 35), ("base.jpg", 513), ("frame.gif", 20)]
    {
        let decode = |max_pixels| Picture::decode(&file(name), &DecodeOptions { max_pixels, ..Default::default() });
        assert!(decode(pixels).is_ok(), "{name}");
        let error = decode(pixels - 1).unwrap_err();
        assert!(matches!(error, Error::Picture { kind: PictureErrorKind::Size, .. }), "{error:?}");
        assert!(error.to_string().ends_with(&format!("expected 1 to {} pixels", pixels - 1)), "{error}");
    }
}
