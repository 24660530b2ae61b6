//! Which of these classes does a picture show?
//!
//! `cargo run --example classify [PICTURE]`

use crossalign::{Model, Picture, Prompts};

fn main() -> crossalign::Result<()> {
    let path = std::env::args().nth(1).unwrap_or("models/mini/example.png".into());

    // The built-in model, which knows drawings; Model::load takes the folder of any CLIP.
    let model = Model::mini(&Default::default())?;
    let prompts = Prompts::from_iter([
        ("cat", ["whiskers and pointed ears", "a small animal with a long tail"]),
        ("rocket", ["a white cylinder with fins", "flames and smoke below"]),
        ("teapot", ["a spout and a handle", "a round pot with a lid"]),
    ]);
    // Descriptions are encoded here, once; the classifier can be saved and used with the vision tower alone.
    let classifier = model.compile(&prompts, &Default::default())?;

    let picture = Picture::open(&path, &Default::default())?;
    let result = classifier.classify(&picture)?;
    println!("{path} on {}", model.device());
    for prediction in result.predictions() {
        println!("{:8.4}  {}", prediction.score, prediction.class);
    }
    Ok(())
}
