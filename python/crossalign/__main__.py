"""The command line, as ``python -m crossalign``."""

from .program import main

if __name__ == "__main__":
    main()
