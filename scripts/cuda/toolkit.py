"""Where NVIDIA's tools and the kernels are, and how the tools beside this file end."""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
KERNELS = REPOSITORY / "kernels"


class Failure(Exception):
    """What a person has to set right; the message says where."""


def tool(path: str) -> Path:
    """A file below site-packages/nvidia of the folder that scripts/cuda/setup filled."""
    folder = Path(os.environ.get("CROSSALIGN_CUDA_TOOLS") or Path.home() / ".cache" / "crossalign-cuda")
    for found in folder.glob(f"lib/python3*/site-packages/nvidia/{path}"):
        return found
    raise Failure(f"{folder}: no {path}; run scripts/cuda/setup, or set CROSSALIGN_CUDA_TOOLS to its folder")


def shown(path: Path) -> str:
    """The path as messages give it: from the repository's root where it lies in there."""
    path = path.resolve()
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def run(main) -> None:
    """Runs `main`; where it fails, ends the process with status 1 and a line for each failure."""
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit("\n".join(f"error: {line}" for line in str(failure).splitlines()))
