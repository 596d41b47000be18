"""Figures of laws in d and k, and of what a class of models can do at most."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fpbook.figures.style import CLEAN, CONTROL, DENSE, GREY, PURIFIED, decades, guide
from fpbook.results.columns import select
from fpbook.synthetic.protocol import SyntheticExperiment
from fpcore.theory.class_bounds import linear_bound
from fpcore.theory.scores import Sizes


@dataclass(frozen=True)
class LawPanel:
    """A quantity over what the theory says it is proportional to.

    title:    of the panel
    networks: {network: colour}
    abscissa: what it is predicted to be proportional to, of d and k
    xlabel:   how that is written
    slope:    of a grey line, in the logarithms; None: no line
    """

    title: str
    networks: Mapping[str, str]
    abscissa: Callable[[pd.Series, pd.Series], pd.Series]
    xlabel: str
    slope: float | None = 1.0


PREDICTED = {
    "dense_coefficient": LawPanel(
        title="dense coefficient",
        networks={"clean": DENSE},
        abscissa=lambda d, k: k / d,
        xlabel="$k/d$",
    ),
    "broken_radius": LawPanel(
        title="breaking radius",
        networks={"clean": CLEAN},
        abscissa=lambda d, k: d**0.5 / k**2,
        xlabel=r"$\sqrt{d}/k^2$",
    ),
    "certified_radius": LawPanel(
        title="certified radius",
        networks={"purified": PURIFIED},
        abscissa=lambda d, k: k**-0.5,
        xlabel=r"$1/\sqrt{k}$",
    ),
    "active_share": LawPanel(
        title="share of neurons active",
        networks={"clean": CLEAN, "purified": PURIFIED},
        abscissa=lambda d, k: k / d,
        xlabel="$k/d$",
    ),
    "steps_to_robust": LawPanel(
        title="FGM steps to 90% robust",
        networks={"purified": PURIFIED},
        abscissa=lambda d, k: d,
        xlabel="$d$",
        slope=None,
    ),
}


def law_panels(shown: Mapping[str, pd.DataFrame], quantities: Sequence[str]) -> Figure:
    """Measured quantities over what they are predicted to be proportional to, a panel each.

    shown       {title: records of runs over d and k}, a dot a run; the last are rings, if several
    quantities  names in PREDICTED

    Runs beyond the regime, k >= sqrt(d), are crosses.
    """
    width = 2.6 * max(2.5, len(quantities))
    figure, axes = plt.subplots(1, len(quantities), figsize=(width, 2.9), squeeze=False)
    for axis, quantity in zip(axes[0], quantities):
        law = PREDICTED[quantity]
        for i, some in enumerate(shown.values()):
            for network, color in law.networks.items():
                line = select(some, quantity=quantity, network=network)
                d, k = line["d"].astype(float), line["k"].astype(float)
                for kind, marker in ((k < d**0.5, "o"), (k >= d**0.5, "X")):
                    face = "none" if i else color
                    look: dict[str, Any] = {"color": color, "markerfacecolor": face}
                    at = law.abscissa(d, k)[kind]
                    axis.plot(at, line["value"][kind], marker, markersize=5, **look)
        axis.set(xlabel=law.xlabel, title=law.title)
        decades(axis)
        if law.slope is not None:
            guide(axis, law.slope)
    figure.legend(handles=_kinds([*shown]), loc="outside lower center", ncols=4)
    return figure


def _kinds(titles: list[str]) -> list[Line2D]:
    """What dots, rings, crosses and the line stand for."""
    plain: dict[str, Any] = {"linestyle": "", "color": "black", "markersize": 5}
    found = [
        Line2D([], [], marker="o", markerfacecolor="none" if i else "black", label=title, **plain)
        for i, title in enumerate(titles)
    ]
    found.append(Line2D([], [], marker="X", label=r"$k = \sqrt{d}$ or more", **plain))
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
