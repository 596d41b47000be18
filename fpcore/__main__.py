"""`python -m fpcore`: the command line."""

import sys

from fpcore.command import main

if __name__ == "__main__":
    sys.exit(main())
