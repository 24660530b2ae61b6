//! Classifies all pictures of a folder at the device's full rate: decoding on threads, batches that fill the device, results in
//! the folder's order, a bad picture an error of its own.
//!
//! `cargo run --release --example stream_folder [FOLDER]`

use crossalign::{CompileOptions, Method, Model, Prompts, StreamOptions};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or("tests/pictures".into());
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();

    let prompts = Prompts::from_json(crossalign::model::MINI_PROMPTS)?;
    // One view a picture: as fast as pictures are decoded.
    let options = CompileOptions::default().with_method(Method::Cupl);
    let classifier = Model::mini(&Default::default())?.compile(&prompts, &options)?;

    let (mut done, mut failed) = (0, 0);
    for (path, result) in classifier.stream(StreamOptions::default()).files(paths) {
        match result {
            Ok(result) => {
                done += 1;
                println!("{}: {}", path.display(), result.predictions()[0].class);
            }
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    println!("{done} pictures classified, {failed} not");
    Ok(())
}
