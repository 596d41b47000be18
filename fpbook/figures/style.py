"""The look that all figures share: colours, axes, words; and how a chapter opens."""

import re
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fpbook.results.provenance import provenance
from fpcore import checks

# Okabe-Ito: distinguishable with every common colour blindness, and in grey.
CLEAN, PURIFIED, DENSE, CONTROL, INIT = "#D55E00", "#0072B2", "#CC79A7", "#7F7F7F", "#009E73"


def style() -> None:
    """Set matplotlib's defaults for the book."""
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "figure.figsize": (7.2, 3.2),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 10,
            "axes.labelsize": 9.5,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 8.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
        }
    )
    if (
        shell := get_ipython()
    ):  # a notebook keeps each figure with a text form: the page's alternative text
        plt.switch_backend(
            plt.get_backend()
        )  # now: loading the inline backend forgets the formatters of figures
        text = shell.display_formatter.formatters["text/plain"]
        text.for_type(Figure, lambda figure, printer, cycle: printer.text(describe(figure)))


def describe(figure: Figure) -> str:
    """A figure in words: of each panel the title, the axes, what is drawn and what is written in it."""
    panels = []
    for axis in figure.axes:
        over = (
            f"{axis.get_ylabel() or 'values'} over {axis.get_xlabel()}"
            if axis.get_xlabel()
            else axis.get_ylabel()
        )
        drawn = ", ".join(axis.get_legend_handles_labels()[1])
        written = ", ".join(text.get_text().strip() for text in axis.texts)
        panels.append(": ".join(filter(None, (axis.get_title(), over, drawn, written))))
    words = "; ".join(filter(None, dict.fromkeys(panels))) or "no labels"
    return "Figure: " + re.sub(r"[$\\{}]|\s+(?=\s)", "", words.replace("\n", " "))


def with_intervals(
    axis: Axes,
    at: Sequence[float],
    numbers: list[dict[str, Any]],
    dashes: str,
    color: str,
    label: str,
) -> None:
    """A line through means, with bars for their intervals where there are any."""
    axis.errorbar(
        at, *means(numbers), fmt=dashes, color=color, label=label, markersize=3.5, linewidth=1.2
    )


def means(numbers: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The means of measured numbers (n,), and how far their intervals reach below and above them (2, n), 0 without one."""
    values = np.array([n["value"] for n in numbers])
    ends = [
        [n[end] if n[end] is not None else n["value"] for n in numbers] for end in ("low", "high")
    ]
    return values, np.abs(np.array(ends) - values)


def decades(axis: Axes) -> None:
    """Logarithmic axes with a few plain numbers on each, also where it spans less than a decade; call it after plotting."""
    axis.set(xscale="log", yscale="log")
    for one, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            ticks = [t for e in range(-6, 7) for s in steps if low <= (t := s * 10.0**e) <= high]
            if len(ticks) >= 3:
                break
        one.set_ticks(ticks, [f"{t:g}" for t in ticks])
        one.set_minor_formatter(NullFormatter())


def guide(axis: Axes, slope: float) -> None:
    """A grey line of the given slope in a log-log plot, through the middle of its points (the positive, finite ones)."""
    points = np.concatenate([np.asarray(line.get_xydata()).reshape(-1, 2) for line in axis.lines])
    logs = np.log(points[(np.isfinite(points) & (points > 0)).all(1)])
    x = np.array([logs[:, 0].min(), logs[:, 0].max()])
    middle = np.median(logs, axis=0)
    axis.plot(
        np.exp(x), np.exp(middle[1] + slope * (x - middle[0])), color=CONTROL, linewidth=1, zorder=0
    )


SCRATCH = "#E69F00"
NETWORK_COLORS = {
    "init": INIT,
    "clean": CLEAN,
    "purified": PURIFIED,
    "control": CONTROL,
    "scratch": SCRATCH,
}
PROFILES = ("quick", "full")  # minutes on two CPU cores; the published sizes


def start(profile: str, device: str, seed: int) -> torch.device:
    """Open a chapter: check its parameters before any work, set the figures' style, say where the numbers come from."""
    checks.choice("profile", profile, PROFILES)
    checks.whole("seed", seed)
    target = checks.resolve_device(device)
    style()
    source = provenance(profile, target, [seed])
    print(f"profile {profile} · {source['device']} · torch {torch.__version__} · seed {seed}")
    return target
