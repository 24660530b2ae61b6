//! The command line: one file a subcommand.

mod bench;
mod classify;
mod compile;
mod destination;
mod devices;
mod embed;
mod evaluate;
mod explain;
mod hub;
mod input;
mod labels;
mod memory;
#[cfg(feature = "hub")]
mod models;
mod options;
mod pictures;
mod views;

use crate::error::{Error, Result};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Classifies images without training: cross-aligns views of an image with descriptions of each class (WCA).
#[derive(Parser)]
#[command(name = "crossalign", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Classify(classify::Args),
    Compile(compile::Args),
    Embed(embed::Args),
    Evaluate(evaluate::Args),
    Explain(explain::Args),
    Views(views::Args),
    Devices(devices::Args),
    #[cfg(feature = "hub")]
    Models(models::Args),
    Bench(bench::Args),
}

/// Runs a command line, the program's name first.
///
/// The exit status is 0, or 1 after a message on stderr for bad input; wrong usage ends the process with 2.
pub fn run(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let result = match Cli::parse_from(line).command {
        Command::Classify(args) => args.run(),
        Command::Compile(args) => args.run(),
        Command::Embed(args) => args.run(),
        Command::Evaluate(args) => args.run(),
        Command::Explain(args) => args.run(),
        Command::Views(args) => args.run(),
        Command::Devices(args) => args.run(),
        #[cfg(feature = "hub")]
        Command::Models(args) => args.run(),
        Command::Bench(args) => args.run(),
    };
    match result {
        Ok(code) => code,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The exit status of a command that has reported its failures.
fn exit(failed: bool) -> ExitCode {
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// One line on stderr.
fn report(message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // There is nowhere to report that stderr is closed.
    let _ = writeln!(std::io::stderr(), "crossalign: {line}");
}

/// A message that names the file it is about.
fn about(path: &Path, error: Error) -> String {
    let (name, message) = (path.display().to_string(), error.in_file(path).to_string());
    if message.starts_with(&name) { message } else { format!("{name}: {message}") }
}

/// Writes lines or a file to standard output.
fn print(content: impl AsRef<[u8]>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(content.as_ref()).and_then(|()| out.flush()).map_err(Error::io(Path::new("standard output")))
}

/// A picture as a PNG file.
fn png(picture: &image::RgbImage) -> image::ImageResult<Vec<u8>> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png)?;
    Ok(file.into_inner())
}

/// Adds the picture's name to an error of the picture or of the boxes in it.
fn name_picture(error: Error, path: &Path) -> Error {
    match &error {
        Error::Picture { .. } => error.in_file(path),
        Error::Argument { name, .. } if name == "picture" || name.starts_with("box") => error.in_file(path),
        _ => error,
    }
}

/// Warns of texts that were longer than the model's context.
fn warn_truncated(truncated: usize, context: usize) {
    if truncated > 0 {
        let texts = if truncated == 1 { "1 text is" } else { &format!("{truncated} texts are") };
        report(&format!("warning: {texts} longer than the model's {context} tokens and lost the end"));
    }
}
