"""The dose-response of the principle: robustness gained over the turn of the weights."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from fpbook.cifar10.dose import TURNED, dose_curve
from fpbook.cifar10.networks import SYMBOLS
from fpbook.figures.style import GREY, NETWORK_COLORS
from fpbook.results.columns import rows

DASHES = {"purified": "o-", "control": "s--"}


def gain_over_turn(measured: pd.DataFrame) -> Figure:
    """Robust accuracy gained, in points, over the median neuron's turn: a line a seed.

    measured  records of `measure_dose`; none: axes with w alone, which gains nothing at no turn
    """
    figure, axis = plt.subplots(figsize=(6.4, 3.2))
    found = [row for row in rows(measured) if "rate_factor" in row]
    for name in TURNED:
        seeds = sorted({row["seed"] for row in found if row["network"] == name})
        for seed in seeds:
            turns, gains = dose_curve(found, name, seed)
            label = SYMBOLS[name] if seed == seeds[0] else None
            axis.plot(
                turns,
                100 * gains,
                DASHES[name],
                color=NETWORK_COLORS[name],
                label=label,
                markersize=3.5,
                linewidth=1.2,
            )
    axis.plot(0, 0, "D", color=NETWORK_COLORS["clean"], label=SYMBOLS["clean"], markersize=4)
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axis.set(xlabel="turn of the median neuron, degrees", ylabel="robust accuracy gained, points")
    axis.legend()
    return figure
