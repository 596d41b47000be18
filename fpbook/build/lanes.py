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
    """The chapters whose trainings do not depend on each other: those on images, and the others.

    notebooks: chapters, in the order of the book, which each lane keeps
    """
    images = [notebook for notebook in notebooks if _on_images(notebook)]
    others = [notebook for notebook in notebooks if notebook not in images]
    return [lane for lane in (others, images) if lane]


def _on_images(notebook: Path) -> bool:
    cells = read_chapter(notebook).cells
    return any("fpbook.cifar10" in cell.source for cell in cells if cell.cell_type == "code")


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
