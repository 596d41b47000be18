"""Validate executed chapters: replay them with nbval, compare the cells that are tagged for it."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import nbformat

from fpbook.build.chapters import (
    BookError,
    chosen,
    executed,
    hand_down_folders,
    hand_down_fonts,
)
from fpbook.build.lanes import LANES, share_threads
from fpbook.figures.style import PROFILES
from fpcore import checks

# Seconds: the longest cell of the full profile (AutoAttack, 15 hours on a CPU), slow machines too.
CELL_TIMEOUT = 48 * 3600


def guard(notebook: Path) -> int:
    """Raise BookError unless each code cell has run without error, and nbval can compare something.

    nbval never compares a cell without an execution count: a stripped notebook would pass while
    checking nothing. Returns the number of cells whose output is compared.
    """
    if not notebook.exists():
        raise BookError(f"{notebook} is not there: execute the book first (make book)")
    code = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    cells = [cell for cell in code if cell.source.strip()]
    for cell in cells:
        if cell.execution_count is None or any(o.output_type == "error" for o in cell.outputs):
            raise BookError(
                f"{notebook} was not executed to its end: this cell has no result\n{cell.source}"
            )
    checked = [cell for cell in cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    if not checked or not all(cell.outputs for cell in checked):
        raise BookError(
            f"{notebook} has no cell tagged nbval-check-output with an output: "
            "nothing would be compared"
        )
    return len(checked)


def validate(notebooks: list[Path]) -> None:
    """Replay executed notebooks with nbval; raise BookError unless all checked cells agree."""
    compared = sum(guard(notebook) for notebook in notebooks)
    print(f"nbval replays {len(notebooks)} notebooks and compares {compared} cells", flush=True)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ours = ["-p", "fpbook.build.replay"]
    no_settings = ["-c", os.devnull, "--rootdir", str(notebooks[0].parent)]
    nbval = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout", str(CELL_TIMEOUT)]
    lanes = ["-n", str(min(LANES, len(notebooks))), "--dist", "loadfile"]
    if subprocess.run(
        [*pytest, *ours, *no_settings, *nbval, *lanes, *map(str, notebooks)]
    ).returncode:
        raise BookError("a replayed notebook differs from the executed one: see above")


def main(arguments: list[str]) -> None:
    """The command `validate`."""
    parser = argparse.ArgumentParser(prog="python -m fpbook validate", description=__doc__)
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("--only", nargs="+", help="chapters to validate, by name")
    options = parser.parse_args(arguments)
    checks.choice("profile", options.profile, PROFILES)
    hand_down_folders()
    hand_down_fonts()
    share_threads()
    validate([executed(n, options.profile) for n in chosen(options.only)])
