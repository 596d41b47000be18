"""`python -m fpcore`: the command line."""

from fpcore.command import main

raise SystemExit(main())
