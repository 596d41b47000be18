"""Two lanes of work side by side, each with its share of the cores.

Two processes that each use all cores wait for each other's threads; with a share each they do not.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fpbook.build.chapters import BookError, read_chapter

LANES = 2


def share_threads() -> None:
    """Give each process that is started from here a lane's share of the cores, unless told."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // LANES)))


def lanes_of(notebooks: Sequence[Path]) -> list[list[Path]]:
    """Chapters in two lanes whose trainings do not depend on each other.

    notebooks: chapters, in the order of the book, which each lane keeps

    What several chapters need is trained once: those that call `run_synthetic` share its trainings,
    and those on images theirs, so each kind is in one lane. The rest goes with the images.
    """
    synthetic = [notebook for notebook in notebooks if _has_synthetic_runs(notebook)]
    others = [notebook for notebook in notebooks if notebook not in synthetic]
    return [lane for lane in (synthetic, others) if lane]


def _has_synthetic_runs(notebook: Path) -> bool:
    cells = read_chapter(notebook).cells
    return any("run_synthetic" in cell.source for cell in cells if cell.cell_type == "code")


def run_at_once(commands: Sequence[Sequence[str]]) -> None:
    """Run commands `python -m fpbook ...` at once; BookError if one fails, when all have ended.

    commands: their arguments, a list for each
    """
    started = [subprocess.Popen([sys.executable, "-m", "fpbook", *one]) for one in commands]
    try:
        codes = [process.wait() for process in started]
    except KeyboardInterrupt:  # which the terminal has sent to them as well
        for process in started:
            process.wait()
        raise
    if any(codes):
        failed = [" ".join(one) for one, code in zip(commands, codes) if code]
        raise BookError(f"failed, as said above: python -m fpbook {'; '.join(failed)}")
