"""How far the book can be trusted, counted by the run that tried it: python -m fpbook trust --help.

It runs the tests that try many things, each of which counts what stood; a test that fails is an
error, and nothing is counted. `make test-all` runs all tests in this way, once.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fpbook.build.chapters import BookError
from fpbook.build.trust_tables import CHECKS, COMPARED, SEEDS_OF_A_RESULT, TRUST
from fpbook.results.arithmetics import COMPARISONS, published_conclusions
from fpbook.results.columns import rows
from fpbook.results.coverage import SYNTHETIC_DATA, comparisons, coverage
from fpbook.results.files import LEDGER, ROOT, folder
from fpbook.results.ledger import claims
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.store import published
from fpcore import checks

TRIALS = 4000  # intervals of each kind of synthetic data


def run_checks(
    folder: Path, faults: int, examples: int, lanes: int, everything: bool = False
) -> None:
    """Run the tests that count what they try; BookError if one fails.

    folder:     where they note it
    faults:     processes that are killed at random, of each kind
    examples:   of each property
    lanes:      processes that test at once
    everything: whether the tests that count nothing are run as well
    """
    settings = {
        "FPCORE_COUNTS": str(folder),
        "FPCORE_FAULTS": str(faults),
        "FPCORE_EXAMPLES": str(examples),
    }
    command = [sys.executable, "-m", "pytest", "tests", "-n", str(lanes)]
    if everything:  # by file, whose fixtures are made once; those that kill are not the last
        command += ["--dist", "loadfile", "--no-loadscope-reorder"]
    else:
        command += ["--dist", "worksteal", "-m", "hypothesis or counted"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | settings)
    if done.returncode:
        raise BookError("a test failed, so nothing is counted: mend it, then run this again")


def collected(folder: Path) -> dict[str, int]:
    """What the tests counted in a folder: {a name in CHECKS: how many}, in the order of CHECKS."""
    found = dict.fromkeys(CHECKS, 0)
    names: set[str] = set()
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            noted = json.loads(line)
            if noted["name"] in names:
                continue
            names |= {noted["name"]} - {""}
            found[noted["check"]] += noted["number"]
    return found


def trust_records(counts: Mapping[str, int], trials: int = TRIALS) -> list[dict[str, Any]]:
    """What was counted, and what the results themselves say, as records.

    counts: as of `collected`
    trials: intervals of each kind of synthetic data

    Of other results: certificates that were attacked, and conclusions in several arithmetics.
    """
    found = [record("tried", float(n), check=name) for name, n in counts.items() if n]
    attacked, broken = _attacked()
    found += [
        record("tried", attacked, check="certified samples attacked"),
        record("wrong", broken, check="certified samples attacked"),
    ]
    total, differing = published_conclusions()
    if total:
        found += [
            record("tried", total, check=COMPARED),
            record("wrong", differing, check=COMPARED),
        ]
    found += [
        record("margin_over_rounding", smallest, "purified", check=name)
        for name, smallest in _smallest_margins().items()
    ]
    for data in SYNTHETIC_DATA:
        for n in SEEDS_OF_A_RESULT:
            share = coverage(data, n, trials)
            found.append(record("interval_coverage", share, check=data, seeds_of_a_result=n))
    many = comparisons(claims())
    return [
        *found,
        record("tried", float(many.figures), check="bounded figures with an interval"),
        record("tried", float(many.alone), check="bounded figures of a single value"),
        record("tried", float(many.decided), check="claims that hold or fail"),
        record("expected_wrong", many.expected),
        *(
            record("adjusted_chance", chance, check=name)
            for name, chance in many.holding
            if math.isfinite(chance)
        ),
    ]


def _attacked() -> tuple[float, float]:
    """Certified samples that were attacked in published results, and how many of them broke."""
    totals = {"certified": 0.0, "broken": 0.0}
    for name in ("soundness", *COMPARISONS):
        result = published(name)
        listed = () if result is None else rows(result.records) or rows(result.summary)
        for row in listed:
            if row["quantity"] in totals:
                totals[row["quantity"]] += row["value"]
    return totals["certified"], totals["broken"]


def _smallest_margins() -> dict[str, float]:
    """The smallest certified margin of each published result that has any, over float64's error."""
    found: dict[str, float] = {}
    for name in sorted(path.stem for path in folder().glob("*.json")):
        result = None if name in (TRUST, LEDGER) else published(name)
        for row in () if result is None else rows(result.records) or rows(result.summary):
            if row["quantity"] == "margin_over_rounding":
                found[name] = min(found.get(name, math.inf), row.get("low", row["value"]))
    return found


def main(arguments: Sequence[str]) -> None:
    """The command `trust`: try, count, show, and publish on request."""
    parser = argparse.ArgumentParser(prog="python -m fpbook trust", description=__doc__)
    parser.add_argument("--faults", type=int, default=200, help="kills of each kind (200)")
    parser.add_argument("--examples", type=int, default=200, help="of each property (200)")
    parser.add_argument("--lanes", type=int, default=2, help="processes that test (2)")
    parser.add_argument("--all", action="store_true", help="run all other tests as well")
    parser.add_argument("--publish", action="store_true", help="write results/trust.json")
    given = parser.parse_args(arguments)
    for name in ("faults", "examples", "lanes"):
        checks.positive_int(name, getattr(given, name))
    with tempfile.TemporaryDirectory() as folder:
        run_checks(Path(folder), given.faults, given.examples, given.lanes, given.all)
        counts = collected(Path(folder))
    measured = table(trust_records(counts))
    setting = f"{given.faults} kills of each kind, {given.examples} examples of each property"
    profile = "full" if given.publish else "quick"
    publish(TRUST, measured, profile, torch.device("cpu"), setting, seeds=[0])
    for check, number in counts.items():
        print(f"{number:>9,}  {CHECKS[check]}")
