"""How fast the book is, beside other libraries and what the hardware can do: `make bench`.

    python -m pip install --no-deps --requirement requirements-bench.txt  # other libraries
    python benchmarks/bench.py [--publish] [--quick] [--only PART ...]

Each part runs in a process of its own, one after the other, for ten minutes in all on two cores.
`--publish` writes results/bench.json, of which the page *How fast* is made. `--quick` runs all at
toy sizes, which says nothing of speed. A part that fails, or takes too long, has one row that says
so; the others go on. $FPCORE_DATA names the folder of CIFAR-10.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from growth_timings import unmeasured
from machine import hardware, versions

from fpbook.results.publishing import publish
from fpbook.results.timings import settings_in_words, timings_table
from fpcore.images import DataNotFoundError, find_cifar10

ROOT = Path(__file__).resolve().parents[1]
NAME = "bench"  # of the result
PARTS = {  # modules with measure(quick) -> rows as `timing` takes them: seconds that each may take
    "step_timings": 150,
    "attack_timings": 150,
    "certificate_timings": 70,
    "growth_timings": 110,
    "engine_timings": 120,
}
PEERS = ("torchattacks", "foolbox", "adversarial-robustness-toolbox", "ray")
MARK = "rows: "  # the line of a part's output that holds them


def rows_of(part: str, quick: bool, limit: float) -> list[dict[str, Any]]:
    """What a part measures, in a process of its own.

    part   a module beside this one
    quick  whether at toy sizes
    limit  seconds, after which it is stopped
    """
    command = [sys.executable, str(Path(__file__)), "--measure", part, *["--quick"] * quick]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Threads that wait do not spin: beside other work that would multiply all times.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "passive"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return [unmeasured(part, f"stopped after {limit:.0f} seconds")]
    found = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not found:
        said = [f"it ended with status {done.returncode}", *done.stderr.splitlines()]
        print(done.stderr, file=sys.stderr)
        return [unmeasured(part, next(line for line in said[::-1] if line.strip())[:200])]
    return json.loads(found[-1].removeprefix(MARK))


def setting(names: Sequence[str], quick: bool) -> str:
    """What was measured on what, in words.

    names  of the parts
    quick  whether at toy sizes
    """
    found = hardware(torch.get_num_threads())
    peers = ", ".join(f"{name} {number}" for name, number in versions(PEERS).items())
    load = os.getloadavg()[0]
    sizes = "toy sizes, " if quick else ""
    return (
        f"{sizes}{', '.join(names)}; {found['processor']}, {found['cores']} cores, "
        f"{found['memory_gb']} GB, load {load:.1f} at the end; {peers}"
    )


def run(names: Sequence[str], quick: bool) -> list[dict[str, Any]]:
    """All rows of some parts, shown as they come.

    names  of the parts
    quick  whether at toy sizes
    """
    found: list[dict[str, Any]] = []
    for name in names:
        some = rows_of(name, quick, PARTS[name])
        found += some
        for row in some:
            value = "not measured" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
            print(f"{row['name']}: {value} ({settings_in_words(row['settings'])})", flush=True)
    return found


def main(arguments: Sequence[str]) -> int:
    """Measure, show, and publish on request; the exit status is that of the measuring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help="some parts")
    parser.add_argument("--quick", action="store_true", help="toy sizes, to see that it runs")
    parser.add_argument("--publish", action="store_true", help=f"write results/{NAME}.json")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.measure:
        rows = importlib.import_module(given.measure).measure(given.quick)
        print(MARK + json.dumps(rows))
        return 0
    if given.publish and (given.only or given.quick):
        parser.error("--publish: a published result is of one whole run, leave --only and --quick")
    if given.publish:
        try:
            find_cifar10()
        except DataNotFoundError as error:
            parser.error(f"--publish: attacks would be timed on random images; {error}")
    names = given.only or [*PARTS]
    measured = timings_table(run(names, given.quick))
    profile = "full" if given.publish else "quick"
    where = torch.device("cpu")
    publish(NAME, measured, profile, where, setting(names, given.quick), seeds=[0])
    lost = set(measured.loc[measured["quantity"] == "unmeasured", "timed"])
    return int(bool(lost & {*names}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
