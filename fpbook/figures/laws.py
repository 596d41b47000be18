"""Figures of laws in d and k, and of what a class of models can do at most."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpbook.figures.style import CLEAN, CONTROL, GREY, decades, guide
from fpbook.results.columns import select
from fpbook.synthetic.protocol import SyntheticExperiment
from fpcore.theory.class_bounds import linear_bound
from fpcore.theory.scores import Sizes

# A law's abscissa: what is predicted to be proportional, of d and k; and how it is written.
Predicted = tuple[Callable[[pd.Series, pd.Series], pd.Series], str]


def law_panels(
    shown: Mapping[str, pd.DataFrame],
    laws: Mapping[str, tuple[str, Mapping[str, str], Predicted]],
    slope: float | None = 1.0,
) -> Figure:
    """Measured quantities over what a law says they are proportional to, one panel a law.

    shown  {title: records of runs over d and k}; the first are dots, the others rings
    laws   {label: (quantity, {network: colour}, the law's abscissa)}
    slope  of a grey line through the middle of each panel, in the logarithms; None: no line

    Runs beyond the regime, k >= sqrt(d), are crosses.
    """
    figure, axes = plt.subplots(1, len(laws), figsize=(2.6 * len(laws), 2.9), squeeze=False)
    for axis, (label, (quantity, networks, (abscissa, xlabel))) in zip(axes[0], laws.items()):
        for i, some in enumerate(shown.values()):
            for network, color in networks.items():
                line = select(some, quantity=quantity, network=network)
                d, k = line["d"].astype(float), line["k"].astype(float)
                inside = k < d**0.5
                for kind, marker in ((inside, "o"), (~inside, "X")):
                    face = "none" if i else color
                    look = {"color": color, "markerfacecolor": face, "markersize": 5}
                    at = abscissa(d, k)[kind]
                    axis.plot(at, line["value"][kind], marker, **look, alpha=0.8 if i else 1.0)
        axis.set(xlabel=xlabel, title=label)
        decades(axis)
        if slope is not None:
            guide(axis, slope)
    figure.legend(handles=_kinds([*shown], slope), loc="outside lower center", ncols=4)
    return figure


def _kinds(titles: list[str], slope: float | None) -> list[Line2D]:
    """What dots, rings, crosses and the line stand for."""
    plain = {"linestyle": "", "color": "black", "markersize": 5}
    found = [
        Line2D([], [], marker="o", markerfacecolor="none" if i else "black", label=title, **plain)
        for i, title in enumerate(titles)
    ]
    found.append(Line2D([], [], marker="X", label=r"$k = \sqrt{d}$ or more", **plain))
    if slope is not None:
        found.append(Line2D([], [], color=GREY, linewidth=1, label="as predicted"))
    return found


def linear_ceilings(
    cosines: Sequence[float],
    bounds: Sequence[float],
    few: Mapping[int, float],
    experiment: SyntheticExperiment,
) -> Figure:
    """The bound on linear classifiers at the experiment's radius, over the direction and over d.

    cosines     with the dense direction
    bounds      on the robust accuracy at each cosine
    few         {number of features: robust accuracy of the classifier that looks at them alone}
    experiment  which radius and margin are taken; on the right k = d^0.4, at the same radius in
                units of 1/sqrt(k)
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 2.9))
    left.plot(cosines, bounds, "--", color=CLEAN, label="every linear (bound)")
    for size, reached in few.items():
        at = (size / experiment.d) ** 0.5
        left.plot(at, reached, "o", color="black", markersize=4)
        left.annotate(f" {size}", (at, reached), fontsize=9)
    left.set(xlabel=r"$\cos(u, u^\star)$", title=r"robust accuracy at $\tau$", ylim=(0, None))
    ds = [round(10 ** (e / 4)) for e in range(10, 25)]
    sizes = [Sizes(d, round(d**0.4), experiment.margin) for d in ds]
    ceilings = [linear_bound(size, experiment.reach / size.k**0.5, 50) for size in sizes]
    right.loglog(ds, ceilings, "--", color=CLEAN, label="every linear (bound)")
    right.loglog(ds, [size.k / size.d for size in sizes], ":", color=CONTROL, label="$k/d$")
    right.set(xlabel="$d$", title=r"$k = d^{0.4}$, the same $\tau\sqrt{k}$")
    right.legend()
    return figure
