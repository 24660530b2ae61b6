//! Scores a picture by boxes of your own, as a detector gives them, and tells how much each counts.
//!
//! `cargo run --example own_views [PICTURE]`

use crossalign::image::CropBox;
use crossalign::{Model, Picture, Prompts, Views};

fn main() -> crossalign::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("models/mini/example.png".into());
    let picture = Picture::open(&path, &Default::default())?;

    // The four quarters, in pixels of the decoded picture.
    let (width, height) = (picture.width() / 2, picture.height() / 2);
    let corners = [(0, 0), (width, 0), (0, height), (width, height)];
    let boxes = corners.map(|(x, y)| CropBox::new(x, y, width, height)).to_vec();

    let prompts = Prompts::from_json(crossalign::model::MINI_PROMPTS)?;
    let classifier = Model::mini(&Default::default())?.compile(&prompts, &Default::default())?;
    let result = classifier.with_views(Views::Boxes(boxes)).classify(&picture)?;

    println!("{path}: {}", result.predictions()[0].class);
    for view in result.views() {
        let CropBox { x, y, width, height, .. } = view.crop;
        println!("{:6.1}%  {width}×{height} at ({x}, {y})", 100.0 * view.weight);
    }
    Ok(())
}
