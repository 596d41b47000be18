"""Figures of how time and memory grow, beside what the hardware allows."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpbook.figures.style import GREY, PURIFIED, decades
from fpbook.results.columns import rows, select

LIMITS = ("--", ":", "-.")  # dashes of what the hardware allows


def growth_panels(
    measured: pd.DataFrame, curves: Mapping[str, tuple[str, str]], columns: int = 3
) -> Figure:
    """Measured curves on logarithmic axes, a panel each, with the limits that the hardware sets.

    measured: the summaries of a benchmark
    curves:   {what is timed: (label of the size, label of the values)}; a curve's limits are timed
              under its name, a comma and what they are of
    columns:  panels in a row

    A fitted exponent stands in its panel.
    """
    count = -(-len(curves) // columns)
    figure, axes = plt.subplots(count, columns, figsize=(7.6, 2.4 * count), squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    points = [(*row["timed"].partition(", ")[::2], row) for row in rows(measured) if "size" in row]
    limits = dict.fromkeys(limit for name, limit, _ in points if limit and name in curves)
    dashes = {"": "o-", **dict(zip(limits, LIMITS))}
    for axis, (name, (across, up)) in zip(axes.flat, curves.items()):
        for limit, line in dashes.items():
            some = [row for one, of, row in points if (one, of) == (name, limit)]
            _curve(axis, some, line, GREY if limit else PURIFIED)
        axis.set(xlabel=across, ylabel=up)
        decades(axis)
        for row in rows(select(measured, quantity="exponent", timed=name)):
            axis.set_title(f"grows as size$^{{{row['value']:.2f}}}$")
    kinds = [Line2D([], [], color=PURIFIED, marker="o", markersize=3.5, label="measured")]
    for limit, line in dashes.items():
        if limit:
            kinds.append(Line2D([], [], color=GREY, linestyle=line, label=limit))
    figure.legend(handles=kinds, loc="outside lower center", ncols=len(kinds))
    return figure


def _curve(axis: Axes, points: Sequence[Mapping], dashes: str, color: str) -> None:
    """A line through the medians, with bars from the least to the largest of the repeats."""
    at = [row["size"] for row in points]
    values = [row["value"] for row in points]
    reach = [
        [row["value"] - row.get("low", row["value"]) for row in points],
        [row.get("high", row["value"]) - row["value"] for row in points],
    ]
    if points:
        axis.errorbar(at, values, reach, fmt=dashes, color=color, markersize=3.5, linewidth=1.2)
