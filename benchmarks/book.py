"""How long the quick book takes to execute, alone and while another process keeps a core busy.

    python benchmarks/book.py [--publish]      # half an hour or so on two cores; nothing beside it

A clone of what is committed is executed with an empty cache, as a reader's first `make book` does,
from the end of installation on. Two times are taken of one run: until the opening page is there,
and until all chapters are executed. `--publish` writes results/book-time.json, which the page
*How fast* shows. $FPCORE_DATA names the folder of CIFAR-10.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from bench import ROOT
from growth_timings import row
from machine import hardware

from fpbook.build.execute import READY
from fpbook.results.publishing import publish
from fpbook.results.timings import timings_table

NAME = "book-time"  # of the result
COMMAND = ("execute", "--profile", "quick", "--opening")
# What keeps a core busy, until its parent has ended.
SPIN = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextlib.contextmanager
def beside(processes: int) -> Iterator[None]:
    """So many processes that keep a core busy each, for a while."""
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def seconds_of(command: Sequence[str], clone: Path, cache: Path) -> dict[str, float]:
    """Seconds until the opening page is there, and until the command has ended.

    command  of `python -m fpbook`, with its arguments
    clone    of the repository, in which it runs
    cache    of trainings

    Raises CalledProcessError if it fails, RuntimeError if it ends without an opening page.
    """
    # Not the repository's own packages: the clone's, in the kernels too. Python keeps what it has
    # compiled, as it does for readers who have not forbidden it.
    environment = {**os.environ, "PYTHONPATH": str(clone), "FPCORE_CACHE": str(cache)}
    environment["PYTHONUNBUFFERED"] = "1"  # a line is read when it is said
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    whole, opening = [sys.executable, "-m", "fpbook", *command], None
    start = time.monotonic()
    with subprocess.Popen(
        whole, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            if READY in line:
                opening = time.monotonic() - start
    book = time.monotonic() - start
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, whole)
    if opening is None:
        raise RuntimeError("no line said that the opening page is ready: see above")
    return {"opening page": opening, "quick book": book}


def timed(busy: int) -> dict[str, float]:
    """Seconds until the opening page is there, and until all chapters are executed.

    busy  how many other processes keep a core busy
    """
    with tempfile.TemporaryDirectory() as folder, beside(busy):
        clone, cache = Path(folder) / "book", Path(folder) / "cache"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        return seconds_of(COMMAND, clone, cache)


def measure() -> list[dict[str, Any]]:
    """The rows: alone, beside one busy core, and how much longer that takes."""
    cores = os.cpu_count()
    alone, beside_one = timed(0), timed(1)
    found = []
    for name in alone:
        one, other = alone[name], beside_one[name]
        found += [
            row(f"{name}, alone", [one], "s", f"{cores} cores, empty cache"),
            row(f"{name}, beside a busy core", [other], "s", f"{cores} cores, empty cache"),
            row(f"{name}, beside over alone", [other / one], "x", f"{cores} cores, empty cache"),
        ]
    return found


def main(arguments: Sequence[str]) -> None:
    """Time, show, and publish on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publish", action="store_true", help=f"write results/{NAME}.json")
    given = parser.parse_args(arguments)
    found = measure()
    for one in found:
        print(f"{one['name']}: {one['value']:.4g} {one['unit']}", flush=True)
    on = hardware(torch.get_num_threads())
    setting = f"{on['processor']}, {on['cores']} cores, {on['memory_gb']} GB"
    profile = "full" if given.publish else "quick"
    publish(NAME, timings_table(found), profile, torch.device("cpu"), setting, seeds=[0])


if __name__ == "__main__":
    main(sys.argv[1:])
