"""The command line: the same program as the crate's."""

import os
import signal
import sys

from ._crossalign import run


def main() -> None:
    """Runs ``sys.argv`` and ends the process with the program's exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would look at Ctrl-C only when the program returns
    # As src/main.rs: Mesa's device-selection layer complains on stderr without a display.
    os.environ["NODEVICE_SELECT"] = "1"
    sys.exit(run(sys.argv))
