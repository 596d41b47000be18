"""What is concluded in several arithmetics: the ledger's bounds, met or not in each of them."""

from dataclasses import replace

import pandas as pd

from fpbook.results.columns import rows, select
from fpbook.results.intervals import interval
from fpbook.results.ledger import Evidence, stated_claims
from fpbook.results.tables import markdown_table


def bounded_figures(result: str = "synthetic") -> list[Evidence]:
    """The figures of the ledger that a result has and a claim bounds."""
    found = [e for claim in stated_claims() for e in claim.evidence]
    return [one for one in found if one.result == result and one.sign]


def compared(measured: pd.DataFrame) -> list[tuple[Evidence, dict[str, list[float]]]]:
    """Each bounded figure with its values, seed by seed, in each arithmetic: {"float32, 2": ...}.

    measured: records with columns `precision` and `threads`
    """
    found = []
    for evidence in bounded_figures():
        values: dict[str, list[float]] = {}
        wanted = replace(evidence.pick, seeds="all").columns()
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
            for one, two in zip(first, other):
                total += 1
                differing += _meets(evidence, one) != _meets(evidence, two)
    return total, differing


def _meets(evidence: Evidence, value: float) -> bool:
    return bool(interval([value]).meets(evidence.sign, evidence.bound))


def arithmetics_table(measured: pd.DataFrame) -> str:
    """A Markdown table: each bounded figure, its bound, its mean in each arithmetic.

    measured: records as of `compared`
    """
    found = compared(measured)
    names = [*dict.fromkeys(name for _, values in found for name in values)]
    cells = []
    for evidence, values in found:
        columns = evidence.pick.columns()
        means = [sum(values[n]) / len(values[n]) if n in values else None for n in names]
        shown = ["-" if mean is None else f"{mean:.4f}" for mean in means]
        title = f"`{columns['quantity']}`, {columns.get('network', '')}"
        cells.append([title, evidence.required, *shown])
    heads = [f"{name} thread{'s' * (not name.endswith(' 1'))}" for name in names]
    return markdown_table(("figure", "bound", *heads), cells)
