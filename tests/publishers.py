"""Processes that publish, and what a reader finds: a result, its arrays and the ledger as one."""

import itertools
import os
import signal
import sys
from pathlib import Path

import torch

from fpbook.results import ledger, publish, published_with_arrays, record, table
from fpbook.results.ledger_file import published_claims

NAME, SEEDS = "synthetic", (0, 1, 2)
CLAIMS = """
[[claim]]
id = "X"
statement = "a statement"
chapter = "chapters/x"
figures = [
    { result = "synthetic", quantity = "robust_accuracy", network = "clean", above = 0.5 },
    { result = "limits", quantity = "robust_accuracy", network = "clean" },
]
"""
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")


def small_ledger(where: Path) -> None:
    """From now on this process knows one claim, and no git; it publishes in a folder."""
    os.environ["FPCORE_RESULTS"] = str(where)
    path = where.with_name("claims.toml")
    if not path.exists():
        path.write_text(CLAIMS)
    ledger.CLAIMS = path
    sys.modules["fpbook.results.provenance"]._commit = lambda: "abc"


def publish_value(value: float, name: str = NAME, arrays: bool = True) -> None:
    """Publish a result in which every number, also of the arrays, is one value."""
    measured = table([record("robust_accuracy", value, network="clean", seed=s) for s in SEEDS])
    beside = {"clean/weight": torch.full((64,), value, dtype=torch.float64)} if arrays else None
    publish(name, measured, "full", torch.device("cpu"), f"value {value}", beside)


def value_found(name: str = NAME) -> float | None:
    """The value of all numbers of the result and of its arrays, which must be one; None without."""
    try:
        result, arrays = published_with_arrays(name)
    except FileNotFoundError:
        return None
    values = {*result.records["value"], *arrays["clean"]["weight"].tolist()}
    assert len(values) == 1 and result.provenance["setting"] == f"value {min(values)}"
    return min(values)


def value_claimed(name: str = NAME) -> float | None:
    """The value that the ledger has of the result; a ledger that is not in order is an error."""
    (claim,) = published_claims()
    found = [figure.get("value") for figure in claim["figures"] if figure["result"] == name]
    return found[0]


def publish_in_turns(where: Path, values: list[float], name: str, barrier) -> None:
    """A process that publishes value after value, each when all processes are at the barrier."""
    small_ledger(where)
    for value in values:
        barrier.wait(60)
        publish_value(value, name)
        barrier.wait(60)


def publish_all_of(where: Path, values: list[float]) -> None:
    """A process that publishes value after value."""
    small_ledger(where)
    for value in values:
        publish_value(value)


def publish_for_ever(where: Path, ready) -> None:
    """A process that publishes until it is killed."""
    small_ledger(where)
    ready.set()
    for i in itertools.count(1):
        publish_value(i % 64 / 64)


def publish_and_die(where: Path, value: float, event: int) -> None:
    """A process that kills itself when it touches a file of the folder for the nth time."""
    small_ledger(where)
    left = itertools.count(event, -1)

    def count(name: str, arguments: tuple) -> None:
        if name in EVENTS and str(arguments[0]).startswith(str(where)) and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    publish_value(value)
