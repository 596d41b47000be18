"""Power laws fitted to measurements over d and k, one point a size."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from fpbook.results.columns import rows
from fpbook.results.intervals import Interval
from fpbook.results.summaries import Pick, pick, summary_table

INSIDE, EVERYWHERE = "k < sqrt(d)", "all"  # the sizes fitted to: the theory's regime, or all
FACTORS: dict[str, Callable[[int, int], float]] = {
    "d": lambda d, k: d,
    "k": lambda d, k: k,
    "k/d": lambda d, k: k / d,
}
# {(d, k): {(quantity, network): mean over seeds}}
Means = Mapping[tuple[int, int], Mapping[tuple[str, str], float]]


@dataclass(frozen=True)
class PowerLaw:
    """A power law that the theory predicts.

    label:    in words
    quantity: what follows it
    network:  of which network
    factors:  what the powers are of, names of FACTORS
    optional: whether it is left out where runs of too few sizes have the quantity
    """

    label: str
    quantity: str
    network: str
    factors: tuple[str, ...]
    optional: bool = False


LAWS = (
    PowerLaw(
        label="dense coefficient", quantity="dense_coefficient", network="clean", factors=("k/d",)
    ),
    PowerLaw(
        label="breaking radius", quantity="broken_radius", network="clean", factors=("d", "k")
    ),
    PowerLaw(
        label="certified radius", quantity="certified_radius", network="purified", factors=("k",)
    ),
    PowerLaw(
        label="active share, clean", quantity="active_share", network="clean", factors=("k/d",)
    ),
    PowerLaw(
        label="active share, purified",
        quantity="active_share",
        network="purified",
        factors=("k/d",),
    ),
    PowerLaw(
        label="steps to 90%",
        quantity="steps_to_robust",
        network="purified",
        factors=("d",),
        optional=True,
    ),
)


def exponents(runs: pd.DataFrame) -> pd.DataFrame:
    """The exponents of LAWS, fitted to records of `measure_scaling`: n is the number of sizes.

    Each is fitted inside the theory's regime, k < sqrt(d), and once more with what lies beyond; to
    one point a size, since what keeps a size off a law is common to its seeds.
    """
    means = _by_size(runs)
    inside = {(d, k): mean for (d, k), mean in means.items() if k < math.sqrt(d)}
    return summary_table([*_fits(inside, INSIDE), *_fits(means, EVERYWHERE)])


def exponent_picks(fitted: pd.DataFrame) -> dict[str, Pick]:
    """Which exponent is which: {"breaking radius ~ d (all sizes)": its pick, ...}."""
    laws = {(law.quantity, law.network): law.label for law in LAWS}
    beyond = {INSIDE: "", EVERYWHERE: " (all sizes)"}
    picks = {}
    for row in rows(fitted):
        over = {name: row[name] for name in ("fitted", "factor", "sizes")}
        label = f"{laws[row['fitted'], row['network']]} ~ {row['factor']}{beyond[row['sizes']]}"
        picks[label] = pick("exponent", row["network"], **over)
    return picks


def _by_size(runs: pd.DataFrame) -> Means:
    """The geometric means over the seeds that have a quantity, without those of nothing but 0."""
    values: dict[tuple[int, int], dict[tuple[str, str], list[float]]] = {}
    for row in rows(runs):
        of_size = values.setdefault((row["d"], row["k"]), {})
        if row["value"]:
            of_size.setdefault((row["quantity"], row["network"]), []).append(row["value"])
    return {
        size: {name: statistics.geometric_mean(some) for name, some in of_size.items()}
        for size, of_size in values.items()
    }


def _fits(means: Means, sizes: str) -> list[dict[str, Any]]:
    """Rows of a summary: the exponents of LAWS, fitted to these means."""
    found = []
    for law in LAWS:
        values = [of_size.get((law.quantity, law.network)) for of_size in means.values()]
        reached = [d for (d, _), value in zip(means, values) if value]
        if law.optional and (len(reached) < 3 or len({*reached}) < 2):
            continue
        factors = {name: [FACTORS[name](d, k) for d, k in means] for name in law.factors}
        for factor, fit in power_law(factors, values).items():
            number = {"value": fit.value, "low": fit.low, "high": fit.high, "n": fit.n}
            of = {"network": law.network, "fitted": law.quantity, "factor": factor, "sizes": sizes}
            found.append({"quantity": "exponent", **of, **number})
    return found


def power_law(
    factors: Mapping[str, Sequence[float]], values: Sequence[float | None]
) -> dict[str, Interval]:
    """Fit values = c * prod_f f^a_f by least squares in logarithms; the a_f with 95% t intervals.

    `factors` maps a name to one positive number a measurement. Measurements that are None, or not
    positive and finite, are left out; too few of them for an interval is an error.
    """
    y = np.asarray(values, dtype=float)
    use = np.isfinite(y) & (y > 0)
    columns = np.column_stack(
        [np.ones(use.sum()), *(np.log(np.asarray(f, dtype=float)[use]) for f in factors.values())]
    )
    free = int(use.sum()) - columns.shape[1]
    if free < 1 or np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise ValueError(
            f"{int(use.sum())} usable measurements of {len(y)} cannot fit {list(factors)}: "
            "measure at more sizes"
        )
    # a = (X'X)^-1 X' log y, and the variance of a_f is s^2 (X'X)^-1_ff
    inverse = np.linalg.inv(columns.T @ columns)
    fitted = inverse @ columns.T @ np.log(y[use])
    variance = np.square(np.log(y[use]) - columns @ fitted).sum() / free
    half = stats.t.ppf(0.975, free) * np.sqrt(variance * inverse.diagonal())
    return {
        name: Interval(value=float(a), low=float(a - h), high=float(a + h), n=len(y[use]))
        for name, a, h in zip(factors, fitted[1:], half[1:])
    }
