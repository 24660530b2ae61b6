//! The command line; see `crossalign --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    crossalign::cli::run()
}
