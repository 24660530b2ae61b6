//! The command line; see `crossalign --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Mesa's device-selection layer looks for a display and complains on stderr without one; this crate orders the
    // adapters itself.
    // SAFETY: the first statement of the process: no other thread reads the environment yet.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    crossalign::cli::run(std::env::args_os())
}
