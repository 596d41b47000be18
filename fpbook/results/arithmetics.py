"""What is concluded in several arithmetics: the ledger's bounds, met or not in each of them."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import torch

from fpbook.results.claim import Evidence
from fpbook.results.columns import ABSCISSAE, rows, select
from fpbook.results.intervals import interval
from fpbook.results.ledger import stated_claims
from fpbook.results.store import published
from fpbook.results.tables import markdown_table

# What is computed in: the type of the products, and the number of threads.
ARITHMETICS = (("float64", 1), ("float32", 1), ("float32", 2), ("bfloat16", 1))
COMPARISONS = ("numerics", "numerics-cifar10")  # the published results
UNNAMED = "synthetic"  # the result that records without an experiment are of


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads of torch, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bounded_figures() -> list[Evidence]:
    """The figures of the ledger that a claim bounds, of all seeds: each with each bound once."""
    found = [e for claim in stated_claims() for e in claim.evidence if e.sign]
    alike = [replace(e, pick=replace(e.pick, seeds="all"), condition=False) for e in found]
    return [*dict.fromkeys(alike)]


def compared(measured: pd.DataFrame) -> list[tuple[Evidence, dict[str, list[float]]]]:
    """Each bounded figure with its values, seed by seed, in each arithmetic: {"float32, 2": ...}.

    measured: records with columns `precision` and `threads`, and `experiment`, which names the
              result that they would be of, if that is not "synthetic"
    """
    found = []
    free = dict.fromkeys(("network", "layer", *ABSCISSAE))
    del free["precision"], free["threads"]
    for evidence in bounded_figures():
        of = None if evidence.result == UNNAMED else evidence.result
        wanted = free | evidence.pick.columns() | {"experiment": of}
        values: dict[str, list[float]] = {}
        for row in rows(select(measured, **wanted)):
            values.setdefault(f"{row['precision']}, {row['threads']}", []).append(row["value"])
        if values:
            found.append((evidence, values))
    return found


def conclusions(measured: pd.DataFrame) -> tuple[int, int]:
    """How many conclusions were compared, and how many differ between arithmetics.

    measured: records as of `compared`

    A conclusion is whether the value of a bounded figure, on one seed, meets its bound. It is
    compared in each other arithmetic with that in the first.
    """
    total = differing = 0
    for evidence, values in compared(measured):
        first, *others = values.values()
        for other in others:
            for one, two in zip(first, other, strict=True):
                total += 1
                differing += _meets(evidence, one) != _meets(evidence, two)
    return total, differing


def published_conclusions() -> tuple[int, int]:
    """`conclusions` of all published comparisons together."""
    found = [conclusions(one.records) for one in map(published, COMPARISONS) if one]
    return sum(total for total, _ in found), sum(differing for _, differing in found)


def _meets(evidence: Evidence, value: float) -> bool:
    return bool(interval([value]).meets(evidence.sign, evidence.bound))


def not_compared() -> dict[str, int]:
    """How many bounded figures of each result are in no published comparison: {result: count}."""
    results = [one for one in map(published, COMPARISONS) if one]
    known = {evidence for one in results for evidence, _ in compared(one.records)}
    missing = [one.result for one in bounded_figures() if one not in known]
    return {name: missing.count(name) for name in missing}


def arithmetics_table(measured: pd.DataFrame) -> str:
    """A Markdown table: each bounded figure, its bound, its mean in each arithmetic.

    measured: records as of `compared`
    """
    found = compared(measured)
    names = [*dict.fromkeys(name for _, values in found for name in values)]
    cells = []
    for evidence, values in found:
        means = [sum(values[n]) / len(values[n]) if n in values else None for n in names]
        shown = ["-" if mean is None else f"{mean:.4f}" for mean in means]
        cells.append([_title(evidence), evidence.required, *shown])
    heads = [f"{name} thread{'s' * (not name.endswith(' 1'))}" for name in names]
    return markdown_table(("figure", "bound", *heads), cells)


def _title(evidence: Evidence) -> str:
    """A figure in words, with its result where there are several."""
    columns = evidence.pick.columns()
    title = f"`{columns['quantity']}`, {columns.get('network', '')}"
    if "layer" in columns:
        title += f", {columns['layer']} layer"
    return title if evidence.result == UNNAMED else f"`{evidence.result}`: {title}"
