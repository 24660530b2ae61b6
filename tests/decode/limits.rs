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
        let decode = |max_pixels| Picture::decode(&file(name), &DecodeOptions::default().with_max_pixels(max_pixels));
        assert!(decode(pixels).is_ok(), "{name}");
        let error = decode(pixels - 1).unwrap_err();
        assert!(matches!(error, Error::Picture { kind: PictureErrorKind::Size, .. }), "{error:?}");
        assert!(error.to_string().ends_with(&format!("expected 1 to {} pixels", pixels - 1)), "{error}");
    }
}

#[test]
fn too_many_bytes_are_refused_before_reading() {
    let (folder, options) = (tempfile::tempdir().unwrap(), DecodeOptions::default().with_max_pixels(3));
    assert_eq!(options.max_bytes(), 24 + (64 << 20));
    let path = folder.path().join("long.png");
    let file = std::fs::File::create(&path).unwrap();
    let open = |bytes: u64| {
        file.set_len(bytes).unwrap();
        Picture::open(&path, &options).unwrap_err()
    };
    let error = open(1 << 40);
    assert!(matches!(error, Error::Picture { path: Some(_), kind: PictureErrorKind::Size, .. }), "{error:?}");
    assert!(
        error.to_string().contains("long.png: picture: found more than 67108888 bytes, expected at most"),
        "{error}"
    );
    let error = open(options.max_bytes());
    assert!(matches!(error, Error::Picture { kind: PictureErrorKind::NoPicture, .. }), "read: {error:?}");
}

/// Resampling tables, of what they take in bytes.
#[test]
fn boxes_of_many_sides_are_refused() {
    use crossalign::image::{CropBox, Resize, plan_views};
    let boxes: Vec<CropBox> = (900_000..1_000_000).map(|side| CropBox::new(0, 0, side, 1)).collect();
    let message = plan_views((1 << 20, 1), &boxes, 100, Resize::ShortestEdge).unwrap_err().to_string();
    let sides = (900_000..1_000_000).sum::<u64>() + 1;
    assert!(message.contains(&format!("take {} bytes", 16 * sides + 28 * 100 * 100_001)), "{message}");
    for sides in ["0,5", "5,0"] {
        let list = CropBox::list_from_json(&format!("[[1,2,{sides}]]"), std::path::Path::new("boxes"));
        assert!(list.unwrap_err().to_string().contains("sides at least 1"));
    }
}

#[cfg(unix)]
#[test]
fn devices_are_refused_and_pipes_are_read() {
    let (folder, options) = (tempfile::tempdir().unwrap(), DecodeOptions::default().with_max_pixels(200));
    for (path, found) in [(std::path::Path::new("/dev/zero"), "a device"), (folder.path(), "a folder")] {
        let error = Picture::open(path, &options).unwrap_err().to_string();
        assert_eq!(error, format!("{}: picture: found {found}, expected a regular file or a pipe", path.display()));
    }
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, file("base.png")).unwrap()
    });
    assert!(Picture::open(&pipe, &options).is_ok());
    writer.join().unwrap();
}
