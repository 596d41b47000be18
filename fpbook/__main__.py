"""The commands of the book: python -m fpbook execute | validate | build | pdf | convert."""

import sys

from fpbook.build import execute, site
from fpbook.results import convert

COMMANDS = {
    "execute": lambda arguments: execute.main(["execute", *arguments]),
    "validate": lambda arguments: execute.main(["validate", *arguments]),
    "build": lambda arguments: site.main(["build", *arguments]),
    "pdf": lambda arguments: site.main(["pdf", *arguments]),
    "convert": convert.main,
}


def main(arguments: list[str]) -> int | None:
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit(f"usage: python -m fpbook {' | '.join(COMMANDS)}   (--help for each)")
    command, *rest = arguments
    return COMMANDS[command](rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
