"""The commands of the book: python -m fpbook execute | validate | build | pdf (--help for each)."""

import sys

from fpbook.build import execute, site

COMMANDS = {
    "execute": execute.main,
    "validate": execute.main,
    "build": site.main,
    "pdf": site.main,
}


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] not in COMMANDS:
        sys.exit(f"usage: python -m fpbook {' | '.join(COMMANDS)}")
    COMMANDS[arguments[0]](arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
