"""The margin that the data must have, over d: by the formula, and where it was reached."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from fpbook.figures.style import CLEAN, GREY, PURIFIED
from fpbook.results.columns import select
from fpcore.theory.separation import Separation


def margin_curve(predicted: Sequence[Separation], measured: pd.DataFrame | None = None) -> Figure:
    """The narrowest margin by the formula, and accuracies of trained networks beside it.

    predicted  at growing d
    measured   records of `measure_narrow` over d and margins; None: none

    On the left a ring is a margin that was tried, filled by the share of seeds that are robust and
    were broken: clean network right on < 1% under attack, purified one certified on > 99%.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9))
    ds = [one.d for one in predicted]
    left.semilogx(ds, [one.margin for one in predicted], "-", color=GREY, label="formula")
    right.semilogx(ds, [one.kept for one in predicted], "-", color=GREY, label="formula")
    right.semilogx(ds, [one.cosine for one in predicted], ":", color=PURIFIED, label="cos(w, w')")
    if measured is not None:
        for (d, score), of_size in _by_size(measured):
            broken = select(of_size, quantity="robust_accuracy", network="clean")["value"] < 0.01
            proved = select(of_size, quantity="certified_accuracy", network="purified")
            both = broken.mean() == 1 and (proved["value"] > 0.99).mean() == 1
            face = PURIFIED if both else "none"
            left.plot(d, score, "o", color=PURIFIED if both else CLEAN, markerfacecolor=face)
    left.set(xlabel="$d$", title="least score, in standard deviations")
    right.set(xlabel="$d$", title="share of codes kept", ylim=(0, 1))
    right.legend()
    return figure


def _by_size(measured: pd.DataFrame) -> list[tuple[tuple[int, float], pd.DataFrame]]:
    """The records of each size and margin, by d and the least score there."""
    found = []
    for (d, _), rows in measured.groupby(["d", "setting"]):
        score = select(rows, quantity="least_score")["value"].iloc[0]
        found.append(((int(d), float(score)), rows))
    return found
