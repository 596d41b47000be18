"""Power laws fitted to measurements over d and k, one point a size."""

import math
import statistics
from typing import Any

import numpy as np
from scipy import stats


def exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The power laws that the theory predicts, fitted to rows of `run_scaling`: name -> exponent, 95% interval.

    Each is fitted inside the theory's regime, k < sqrt(d), and once more, as "name (all sizes)", with what lies beyond; to
    one point a size, since what keeps a size off a law is common to its seeds.
    """
    rows = _by_size(rows)
    inside = [row for row in rows if row["k"] < math.sqrt(row["d"])]
    return _exponents(inside) | {
        f"{name} (all sizes)": fit for name, fit in _exponents(rows).items()
    }


def _by_size(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each (d, k): the geometric mean of each figure over the seeds that have it, None if none has."""
    found = []
    for d, k in dict.fromkeys((row["d"], row["k"]) for row in rows):
        some = [row for row in rows if (row["d"], row["k"]) == (d, k)]
        figures = {
            name: [row[name] for row in some if row[name]]
            for name in some[0].keys() - {"d", "k", "seed"}
        }
        means = {
            name: statistics.geometric_mean(values) if values else None
            for name, values in figures.items()
        }
        found.append({"d": d, "k": k, **means})
    return found


def _exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    d, k = ([row[name] for row in rows] for name in ("d", "k"))
    share = {"k/d": [row["k"] / row["d"] for row in rows]}
    laws: dict[str, tuple[str, dict[str, list[float]]]] = {
        "dense coefficient": ("dense_coefficient", share),
        "breaking radius": ("broken_radius", {"d": d, "k": k}),
        "certified radius": ("certified_radius", {"k": k}),
        "active share, clean": ("active_clean", share),
        "active share, purified": ("active_adv", share),
    }
    counted = [row["d"] for row in rows if row["steps"]]  # reached, and not before the first step
    if len(counted) >= 3 and len({*counted}) >= 2:
        laws["steps to 90%"] = ("steps", {"d": d})
    found: dict[str, dict[str, float]] = {}
    for label, (figure, factors) in laws.items():
        fitted = power_law(factors, [row[figure] for row in rows])
        found |= {f"{label} ~ {name}": number for name, number in fitted.items()}
    return found


def power_law(
    factors: dict[str, list[float]], values: list[float | None]
) -> dict[str, dict[str, float]]:
    """Fit values = c * prod_f f^a_f by least squares in logarithms; the exponents a_f with their 95% t intervals.

    `factors` maps a name to one positive number a measurement. Measurements that are None, or not positive and finite, are
    left out; too few of them for an interval is an error.
    """
    y = np.asarray(values, dtype=float)
    use = np.isfinite(y) & (y > 0)
    columns = np.column_stack(
        [np.ones(use.sum()), *(np.log(np.asarray(f, dtype=float)[use]) for f in factors.values())]
    )
    free = int(use.sum()) - columns.shape[1]
    if free < 1 or np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise ValueError(
            f"{int(use.sum())} usable measurements of {len(y)} cannot fit {list(factors)}: measure at more sizes"
        )
    inverse = np.linalg.inv(columns.T @ columns)
    fitted = inverse @ columns.T @ np.log(y[use])
    variance = np.square(np.log(y[use]) - columns @ fitted).sum() / free
    half = stats.t.ppf(0.975, free) * np.sqrt(variance * inverse.diagonal())
    names = dict(zip(factors, zip(fitted[1:], half[1:])))
    return {
        n: {"value": float(a), "low": float(a - h), "high": float(a + h), "n": len(y[use])}
        for n, (a, h) in names.items()
    }
