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
from torch import Tensor

from fpbook.results.intervals import Interval
from fpbook.results.provenance import provenance
from fpcore import checks

# The colours of Okabe and Ito: distinguishable with every common colour blindness, and in grey.
NETWORK_COLORS = {
    "init": "#009E73",
    "clean": "#D55E00",
    "purified": "#0072B2",
    "control": "#7F7F7F",
    "scratch": "#E69F00",
}
# Beside its colour each network has a marker and dashes: told apart in grey print too.
INIT = NETWORK_COLORS["init"]
CLEAN = NETWORK_COLORS["clean"]
PURIFIED = NETWORK_COLORS["purified"]
CONTROL = NETWORK_COLORS["control"]
SCRATCH = NETWORK_COLORS["scratch"]
DENSE = "#CC79A7"  # what of a neuron is a dense mixture
ATTACKED = "#E69F00"  # accuracy under attack, where colours tell kinds of accuracy apart
PALE_PURIFIED = "#56B4E9"  # a second line about the purified network
GREY = "#7F7F7F"  # what the eye may pass by: guides, borders between stages
LIGHT_GREY = "#999999"
PALE_GREY = "#BBBBBB"

EVEN_COSINE = 0.5**0.5  # of w and w', where the parts beta w' and v of w are equally long
PROFILES = ("quick", "full")  # minutes on two CPU cores; the published sizes

DEFAULTS: dict[Any, Any] = {
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


def start(profile: str, device: str, seed: int) -> torch.device:
    """Open a chapter: check its parameters before any work, set the style, print the provenance."""
    checks.choice("profile", profile, PROFILES)
    checks.whole("seed", seed)
    target = checks.resolve_device(device)
    style()
    source = provenance(profile, target, [seed])
    print(f"profile {profile} · {source['device']} · torch {torch.__version__} · seed {seed}")
    return target


def style() -> None:
    """Set matplotlib's defaults for the book; in a notebook, show figures in it, with their words.

    The words are the text form of a figure, which becomes the page's alternative text.
    """
    shell = get_ipython()
    if shell is not None:
        # First: loading a backend forgets the formatters of figures.
        if hasattr(shell, "kernel"):
            # Under MPLBACKEND=Agg, say, a notebook would show no figure, and not complain.
            shell.enable_matplotlib("inline")
        else:
            plt.switch_backend(plt.get_backend())
        text = shell.display_formatter.formatters["text/plain"]
        text.for_type(Figure, lambda figure, printer, cycle: printer.text(describe(figure)))
    plt.rcdefaults()  # a matplotlibrc of the reader, with text.usetex, say, would lose figures
    plt.rcParams.update(DEFAULTS)


def describe(figure: Figure) -> str:
    """A figure in words: of each panel the title, the axes, what is drawn, what is written."""
    panels = []
    for axis in figure.axes:
        across, up = axis.get_xlabel(), axis.get_ylabel()
        over = f"{up or 'values'} over {across}" if across else up
        drawn = ", ".join(axis.get_legend_handles_labels()[1])
        written = ", ".join(text.get_text().strip() for text in axis.texts)
        panels.append(": ".join(filter(None, (axis.get_title(), over, drawn, written))))
    words = "; ".join(filter(None, dict.fromkeys(panels))) or "no labels"
    return "Figure: " + re.sub(r"[$\\{}]|\s+(?=\s)", "", words.replace("\n", " "))


def with_intervals(
    axis: Axes,
    at: Sequence[float],
    numbers: Sequence[Interval],
    dashes: str,
    color: str,
    label: str,
) -> None:
    """A line through means, with bars for their intervals where there are any.

    axis     where to draw
    at       a place on the horizontal axis for each number
    numbers  means, with their intervals where there are any
    dashes   marker and line style, as matplotlib writes them
    color    of line and bars
    label    in the legend
    """
    values, reach = means(numbers)
    axis.errorbar(
        at, values, reach, fmt=dashes, color=color, label=label, markersize=3.5, linewidth=1.2
    )


def means(numbers: Sequence[Interval]) -> tuple[np.ndarray, np.ndarray]:
    """The means of numbers (n,), and how far their intervals reach below and above them (2, n).

    The reach of a number without an interval is 0.
    """
    values = np.array([number.value for number in numbers])
    ends = np.array([number.ends for number in numbers]).T
    return values, np.abs(ends - values)


def share_histogram(
    axis: Axes, values: Tensor, edges: list[float], color: str, **look: Any
) -> None:
    """The histogram of values (n,), its heights shares of them.

    axis    where to draw
    values  (n,)
    edges   of the bins
    color   of the bars
    look    what else matplotlib's `hist` is to know
    """
    weights = torch.full_like(values, 1 / len(values)).cpu()
    axis.hist(values.cpu(), bins=edges, weights=weights, color=color, **look)


def decades(axis: Axes) -> None:
    """Logarithmic axes with a few plain numbers on each, also where it spans less than a decade.

    Call it after plotting.
    """
    axis.set(xscale="log", yscale="log")
    for side, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            numbers = [step * 10.0**exponent for exponent in range(-6, 7) for step in steps]
            ticks = [number for number in numbers if low <= number <= high]
            if len(ticks) >= 3:
                break
        side.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        side.set_minor_formatter(NullFormatter())


def guide(axis: Axes, slope: float) -> None:
    """A grey line in a log-log plot, through the middle of its positive, finite points."""
    points = np.concatenate([np.asarray(line.get_xydata()).reshape(-1, 2) for line in axis.lines])
    logs = np.log(points[(np.isfinite(points) & (points > 0)).all(1)])
    x = np.array([logs[:, 0].min(), logs[:, 0].max()])
    middle = np.median(logs, axis=0)
    y = middle[1] + slope * (x - middle[0])
    axis.plot(np.exp(x), np.exp(y), color=GREY, linewidth=1, zorder=0)
